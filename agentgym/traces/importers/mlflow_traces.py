"""Traces exported from MLflow, as `Trace.to_json` writes them: a session is a conversation, else a trace is one."""

from collections.abc import Iterator
from typing import Any

import orjson

from agentgym.traces.importers.exchanges import answered, asked
from agentgym.traces.importers.gathering import Part, gathered
from agentgym.traces.importers.reading import Log, Place, read_each
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.recorded_traces import (
    Exchange,
    RecordedTrace,
    ToolRun,
    recorded_conversation,
    score_fields,
    seconds,
    seconds_of_nanoseconds,
    told,
)
from agentgym.traces.importers.shapes import an_object, identifier, objects, parsed, plain_tags

_SESSION, _USER = "mlflow.trace.session", "mlflow.trace.user"


def looks_like_mlflow(value: Any) -> bool:
    data = value.get("data") if isinstance(value, dict) else None
    return isinstance(data, dict) and isinstance(data.get("spans"), list) and "info" in value


def read_mlflow(log: Log) -> Iterator[Record | RejectedLine]:
    yield from gathered(read_each(log, _parts), recorded_conversation)


def _parts(value: Any, place: Place) -> Iterator[Part]:
    trace = an_object(value, "A trace")
    info = an_object(trace.get("info"), "The info of a trace")
    spans = [_Span(span) for span in objects(an_object(trace.get("data"), "The data of a trace").get("spans"), "The spans of a trace")]
    asked_models = [span.exchange() for span in spans if span.kind in ("CHAT_MODEL", "LLM")]
    if not any(exchange.messages for exchange in asked_models):
        # An agent whose model is not traced is asked with messages itself.
        asked_models = [span.exchange() for span in spans if span.holds_messages]
    turns, tools = told(asked_models, [span.run() for span in spans if span.kind == "TOOL"])
    # Its older form called the metadata of a request so.
    metadata = {**_texts(info.get("tags")), **_texts(info.get("request_metadata")), **_texts(info.get("trace_metadata"))}
    scores = score_fields(dict(_feedback(info)))
    tags = {name: text for name, text in metadata.items() if not name.startswith("mlflow.")} | scores.pop("tags")
    began = seconds(info.get("request_time"))
    yield RecordedTrace(
        trace_id=identifier(info.get("trace_id", info.get("request_id"))),
        conversation_id=metadata.get(_SESSION),
        began=began if began is not None else min((span.began for span in spans if span.began), default=None),
        ended=max((span.ended for span in spans if span.ended is not None), default=None),
        turns=turns,
        tools=tools,
        customer_id=metadata.get(_USER),
        tags=tags,
        **scores,
    ).part(place)


def _feedback(info: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What people and judges said of a trace; what was expected of it is no score."""
    for assessment in objects(info.get("assessments"), "The assessments of a trace"):
        feedback = assessment.get("feedback")
        if isinstance(feedback, dict) and assessment.get("valid", True):
            yield str(assessment.get("assessment_name", assessment.get("name"))), feedback.get("value")


def _texts(values: Any) -> dict[str, str]:
    return plain_tags(values) if isinstance(values, dict) else {}


def _json(text: Any) -> Any:
    try:
        return orjson.loads(text) if isinstance(text, str) else text
    except orjson.JSONDecodeError:
        return text


class _Span:
    """A span; each of its attributes is JSON in a text."""

    def __init__(self, span: dict[str, Any]) -> None:
        self._span = span
        attributes = {name: _json(text) for name, text in an_object(span.get("attributes") or {}, "The attributes of a span").items()}
        self.inputs, self.outputs = parsed(attributes.get("mlflow.spanInputs")), parsed(attributes.get("mlflow.spanOutputs"))
        self.kind, self._tools = attributes.get("mlflow.spanType"), attributes.get("mlflow.chat.tools")
        self.began = seconds_of_nanoseconds(span.get("start_time_unix_nano", span.get("start_time"))) or 0.0
        self.ended = seconds_of_nanoseconds(span.get("end_time_unix_nano", span.get("end_time")))

    @property
    def holds_messages(self) -> bool:
        return isinstance(self.inputs, dict) and isinstance(self.inputs.get("messages", self.inputs.get("input")), list)

    def exchange(self) -> Exchange:
        declared = self._tools or (self.inputs.get("tools") if isinstance(self.inputs, dict) else None)
        return Exchange(began=self.began, messages=[*asked(self.inputs), *answered(self.outputs)], tools=declared)

    def run(self) -> ToolRun:
        status = self._span.get("status")
        is_failed = self.outputs is None and isinstance(status, dict) and str(status.get("code")).endswith("ERROR")
        result = f"Error: {status.get('message')}" if is_failed and isinstance(status, dict) else self.outputs
        return ToolRun(began=self.began, name=str(self._span.get("name")), result=result)
