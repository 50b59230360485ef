"""Spans of OpenTelemetry's conventions for generative AI, in OTLP's JSON.

The messages are attributes of a span (`gen_ai.input.messages` and so on), attributes of an event of it, or, in the older form, one event
for each message; events may be log records of their own. A conversation is what bears one `gen_ai.conversation.id`, else one trace.
"""

from collections.abc import Iterator
from typing import Any

from agentgym.traces.importers.exchanges import answered, asked
from agentgym.traces.importers.gathering import Part, gathered
from agentgym.traces.importers.otlp_logs import told_records, with_records
from agentgym.traces.importers.otlp_values import attributes_of
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.recorded_traces import (
    Exchange,
    RecordedTrace,
    ToolRun,
    recorded_conversation,
    seconds_of_nanoseconds,
    told,
)
from agentgym.traces.importers.shapes import NotAConversation, an_object, identifier, objects, parsed
from agentgym.traces.importers.turns import Turn

_EVENT_ROLES = {f"gen_ai.{role}.message": role for role in ("system", "user", "assistant", "tool")} | {"gen_ai.choice": "assistant"}


_TOLD_OF_SPANS = ("traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano", "status")
# What was said stands in attributes of these names, of a span or of an event that tells its details.
_SYSTEM, _INPUT, _OUTPUT = "gen_ai.system_instructions", "gen_ai.input.messages", "gen_ai.output.messages"


def looks_like_otlp(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(name), list) for name in ("resourceSpans", "resourceLogs"))


def read_otlp(log: Log) -> Iterator[Record | RejectedLine]:
    """The conversations of exported batches; a trace's spans may be in several, and a conversation's traces in any."""
    yield from gathered(gathered_traces(log), recorded_conversation)


def gathered_traces(log: Log) -> Iterator[Part | RejectedLine]:
    yield from gathered(read_each(log, _parts), _trace)


def _parts(value: Any, place: Place) -> Iterator[Part]:
    """The spans and log records about models, agents and tools; what else a program tells is no conversation."""
    batch = an_object(value, "A batch of spans")
    if not ({"resourceSpans", "resourceLogs"} & batch.keys()):
        raise NotAConversation("A batch of spans has resourceSpans, one of log records resourceLogs; this has neither.")
    yield from _spans(batch, place)
    yield from told_records(batch.get("resourceLogs"), place)


def _spans(batch: dict[str, Any], place: Place) -> Iterator[Part]:
    for resource in objects(batch.get("resourceSpans"), "The resourceSpans"):
        for scope in objects(resource.get("scopeSpans"), "The scopeSpans"):
            for span in objects(scope.get("spans"), "The spans"):
                attributes = attributes_of(span)
                events = [(str(event.get("name")), attributes_of(event)) for event in objects(span.get("events"), "The events of a span")]
                names: list[str] = [*attributes, *(name for name, _ in events)]
                if any(name.startswith("gen_ai.") for name in names):
                    told_of = {key: span.get(key) for key in _TOLD_OF_SPANS}
                    key = identifier(span.get("traceId")) or str(place)
                    yield Part(key=key, place=place, value=told_of | {"attributes": attributes, "events": events})


def _trace(parts: list[Part]) -> Iterator[Part]:
    """What the spans of one trace tell."""
    spans = sorted((_Span(span) for span in with_records([part.value for part in parts])), key=lambda span: span.began)
    turns, tools = told(
        [span.exchange() for span in spans if not span.is_tool], [span.run() for span in spans if span.is_tool and span.has_result]
    )
    trace_id = identifier(parts[0].value.get("traceId"))
    ends = [span.ended for span in spans if span.ended is not None]
    model = _first(spans, "gen_ai.request.model")
    yield RecordedTrace(
        trace_id=trace_id,
        conversation_id=_first(spans, "gen_ai.conversation.id", "session.id"),
        began=next((span.began for span in spans if span.began), None),
        ended=max(ends, default=None),
        turns=turns,
        tools=tools,
        customer_id=_first(spans, "user.id", "enduser.id"),
        agent_version=_first(spans, "gen_ai.agent.version"),
        tags={} if model is None else {"model": model},
    ).part(parts[0].place, key=f"trace {parts[0].key}")


def _first(spans: list["_Span"], *names: str) -> str | None:
    return next((found for name in names for span in spans if (found := identifier(span.attributes.get(name)))), None)


class _Span:
    """A span with its attributes as JSON."""

    def __init__(self, span: dict[str, Any]) -> None:
        self.attributes: dict[str, Any] = span["attributes"]
        self._events: list[tuple[str, dict[str, Any]]] = [(name, attributes) for name, attributes in span["events"]]
        self._status = span.get("status")
        self.began = seconds_of_nanoseconds(span.get("startTimeUnixNano")) or 0.0
        self.ended = seconds_of_nanoseconds(span.get("endTimeUnixNano"))
        self.is_tool = self.attributes.get("gen_ai.operation.name") == "execute_tool"
        self._is_failed = isinstance(self._status, dict) and self._status.get("code") in (2, "STATUS_CODE_ERROR")
        self.has_result = "gen_ai.tool.call.result" in self.attributes or self._is_failed

    def run(self) -> ToolRun:
        failure = self._status.get("message") or self.attributes.get("error.type") if isinstance(self._status, dict) else None
        return ToolRun(
            began=self.began,
            name=str(self.attributes.get("gen_ai.tool.name")),
            result=self.attributes.get("gen_ai.tool.call.result", f"Error: {failure}"),
            call_id=identifier(self.attributes.get("gen_ai.tool.call.id")),
        )

    def exchange(self) -> Exchange:
        holders = [self.attributes, *(attributes for _, attributes in self._events)]
        details = next((holder for holder in holders if _INPUT in holder or _OUTPUT in holder), self.attributes)
        system = [{"role": "system", "parts": parsed(details[_SYSTEM])}] if details.get(_SYSTEM) else []
        said = [*system, *_listed(details.get(_INPUT)), *_listed(details.get(_OUTPUT))]
        messages = [turn for message in said for turn in _messages(message)] or [*self._told_by_events()] or self._prompted()
        tools = next((holder["gen_ai.tool.definitions"] for holder in holders if "gen_ai.tool.definitions" in holder), None)
        return Exchange(began=self.began, messages=messages, tools=parsed(tools))

    def _told_by_events(self) -> Iterator[Turn]:
        """The older form. Of several choices the first counts."""
        for name, attributes in self._events:
            role = _EVENT_ROLES.get(name)
            if role is None or attributes.get("index") not in (None, 0):
                continue
            body = parsed(attributes.get("gen_ai.event.content", attributes.get("message")))
            said = {key: parsed(value) for key, value in attributes.items()} | (body if isinstance(body, dict) else {})
            nested = said.get("message")
            yield {"role": role, "tool_call_id": said.get("id"), **said, **(nested if isinstance(nested, dict) else {})}

    def _prompted(self) -> list[Turn]:
        """The oldest form, which wrote what was asked and answered as one text each."""
        holders = [self.attributes, *(attributes for _, attributes in self._events)]
        prompt = next((holder["gen_ai.prompt"] for holder in holders if "gen_ai.prompt" in holder), None)
        completion = next((holder["gen_ai.completion"] for holder in holders if "gen_ai.completion" in holder), None)
        return [*asked(prompt), *answered(completion)]


def _listed(messages: Any) -> list[dict[str, Any]]:
    return objects(parsed(messages), "The messages of a span")


def _messages(message: dict[str, Any]) -> list[Turn]:
    """A message in the chat form. Results are parts too, each of which answers a call."""
    if "parts" not in message:
        return [message]
    parts = objects(message["parts"], "The parts of a message")
    words = "".join(part["content"] for part in parts if part.get("type") == "text" and isinstance(part.get("content"), str))
    calls = [
        {"id": part.get("id"), "function": {"name": part.get("name"), "arguments": part.get("arguments")}}
        for part in parts
        if part.get("type") == "tool_call"
    ]
    results: list[Turn] = [
        {"role": "tool", "tool_call_id": part.get("id"), "content": part.get("response", part.get("result"))}
        for part in parts
        if part.get("type") == "tool_call_response"
    ]
    said = [{"role": message.get("role"), "content": words, "tool_calls": calls}] if words or calls or not results else []
    return [*results, *said]
