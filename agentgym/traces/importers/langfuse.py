"""Traces exported from Langfuse, with their observations: a session is a conversation, else a trace is one."""

from collections.abc import Iterator
from typing import Any

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
    told,
)
from agentgym.traces.importers.shapes import NotAConversation, an_object, identifier, objects, parsed, plain_tags

# What runs a tool is logged as a tool by newer clients, and as a span by older ones.
_TOOL_TYPES = ("TOOL", "SPAN")


def looks_like_langfuse(value: Any) -> bool:
    trace = value["data"][0] if isinstance(value, dict) and isinstance(value.get("data"), list) and value["data"] else value
    return isinstance(trace, dict) and isinstance(trace.get("observations"), list)


def read_langfuse(log: Log) -> Iterator[Record | RejectedLine]:
    """Traces one by one, or pages of them in `data` as the API gives them."""
    yield from gathered(read_each(log, _parts), recorded_conversation)


def _parts(value: Any, place: Place) -> Iterator[Part | RejectedLine]:
    page = an_object(value, "A trace")
    if "observations" in page or "data" not in page:
        yield _trace(page).part(place)
        return
    for number, trace in enumerate(objects(page["data"], "The data of a page"), start=1):
        try:
            yield _trace(trace).part(place, key=f"{place}, {number} of its page")
        except NotAConversation as error:
            yield place.rejected(str(error), identifier(trace.get("id")))


def _trace(trace: dict[str, Any]) -> RecordedTrace:
    observations = objects(trace.get("observations"), "The observations of a trace")
    generations = [_exchange(observation) for observation in observations if observation.get("type") == "GENERATION"]
    if not any(exchange.messages for exchange in generations):
        # Without generations the trace itself may hold what was asked and answered.
        generations = [_exchange(trace)]
    runs = [
        _run(observation)
        for observation in observations
        if observation.get("type") in _TOOL_TYPES and observation.get("output") is not None
    ]
    turns, tools = told(generations, runs)
    ends = [end for observation in observations if (end := seconds(observation.get("endTime"))) is not None]
    scores = score_fields(
        {str(score.get("name")): _score(score) for score in objects(trace.get("scores"), "The scores of a trace") if score}
    )
    tags = plain_tags({"name": trace.get("name"), "environment": trace.get("environment")}) | scores.pop("tags")
    return RecordedTrace(
        trace_id=identifier(trace.get("id")),
        conversation_id=identifier(trace.get("sessionId")),
        began=seconds(trace.get("timestamp")),
        ended=max(ends, default=None),
        turns=turns,
        tools=tools,
        customer_id=identifier(trace.get("userId")),
        agent_version=identifier(trace.get("release") or trace.get("version")),
        tags=tags,
        **scores,
    )


def _exchange(observation: dict[str, Any]) -> Exchange:
    given = parsed(observation.get("input"))
    began = seconds(observation.get("startTime", observation.get("timestamp"))) or 0.0
    tools = given.get("tools") if isinstance(given, dict) else None
    return Exchange(began=began, messages=[*asked(given), *answered(observation.get("output"))], tools=tools)


def _run(observation: dict[str, Any]) -> ToolRun:
    is_failed = observation.get("level") == "ERROR" and observation.get("statusMessage")
    return ToolRun(
        began=seconds(observation.get("startTime")) or 0.0,
        name=str(observation.get("name")),
        result=f"Error: {observation['statusMessage']}" if is_failed else observation["output"],
    )


def _score(score: dict[str, Any]) -> Any:
    """A score that is a category has it as text beside a number."""
    return score.get("stringValue") or score.get("value")
