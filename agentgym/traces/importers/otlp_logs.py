"""Events about models as log records of OTLP, which name the span they belong to.

An event tells one message (`gen_ai.user.message`, `gen_ai.choice`), with its words in the body, or all of a request
(`gen_ai.client.inference.operation.details`), with the attributes that a span has.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from agentgym.traces.importers.gathering import Part
from agentgym.traces.importers.otlp_values import attributes_of, value_of
from agentgym.traces.importers.reading import Place
from agentgym.traces.importers.shapes import identifier, objects


def told_records(resources: Any, place: Place) -> Iterator[Part]:
    """The log records that are events about models, each like a span with that one event."""
    for resource in objects(resources, "The resourceLogs"):
        for scope in objects(resource.get("scopeLogs"), "The scopeLogs"):
            for record in objects(scope.get("logRecords"), "The logRecords"):
                attributes = attributes_of(record)
                name = str(record.get("eventName") or attributes.get("event.name"))
                if name.startswith("gen_ai."):
                    moment = record.get("timeUnixNano") or record.get("observedTimeUnixNano")
                    told = {"traceId": record.get("traceId"), "spanId": record.get("spanId"), "startTimeUnixNano": moment, "isRecord": True}
                    event = {"attributes": attributes, "events": [(name, _event(attributes, value_of(record.get("body"))))]}
                    yield Part(key=identifier(record.get("traceId")) or str(place), place=place, value=told | event)


def with_records(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of a trace, each with the events of its log records; records of a span that is not in the log are one span."""
    spans = [span for span in told if not span.get("isRecord")]
    by_id = {span["spanId"]: place for place, span in enumerate(spans) if identifier(span.get("spanId"))}
    for record in sorted((record for record in told if record.get("isRecord")), key=_moment):
        name = identifier(record.get("spanId"))
        place = by_id.setdefault(name, len(spans))
        if place == len(spans):
            spans.append({**record, "events": []})
        span = spans[place]
        # What the span says of itself counts; a record adds what it does not say, such as the conversation.
        spans[place] = {
            **span,
            "attributes": {**record["attributes"], **span["attributes"]},
            "events": [*span["events"], *record["events"]],
        }
    return spans


def _event(attributes: dict[str, Any], body: Any) -> dict[str, Any]:
    if body is None:
        return attributes
    index = {"index": body["index"]} if isinstance(body, dict) and "index" in body else {}
    return {**attributes, **index, "gen_ai.event.content": body}


def _moment(record: dict[str, Any]) -> int:
    text = str(record.get("startTimeUnixNano"))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
