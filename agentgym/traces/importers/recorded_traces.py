"""Conversations from the traces of observability tools, which record requests to models and runs of tools one by one.

Each request repeats what was said before it, so one of a trace tells all of it; the traces of a conversation may repeat each other too, or
go on where the one before ended.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from agentgym.traces.importers.chat import read_tools
from agentgym.traces.importers.gathering import Part
from agentgym.traces.importers.openai_responses import function_tools
from agentgym.traces.importers.reading import Place
from agentgym.traces.importers.record import Record
from agentgym.traces.importers.shapes import NotAConversation
from agentgym.traces.importers.turns import Turn, answered, joined, read_turn, read_turns

# The year 6325; a later moment is no date of a log.
_LAST_SECOND = 2**37


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A request to a model with its answer, as messages in the chat form. began: seconds since 1970.   tools: declared with it."""

    began: float
    messages: list[Turn]
    tools: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRun:
    """A tool that ran. result: text, or any JSON."""

    began: float
    name: str
    result: Any
    call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedTrace:
    """What one trace tells of a conversation. Everything in it is JSON, so that it can wait on disk for the other traces."""

    trace_id: str | None
    conversation_id: str | None
    began: float | None
    turns: list[Turn]
    ended: float | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    customer_id: str | None = None
    agent_version: str | None = None
    outcome: str | None = None
    satisfaction_score: float | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def part(self, place: Place, key: str | None = None) -> Part:
        """A trace that belongs to no conversation is one itself. key: what tells it from others; by default its place, as ids collide."""
        found = key or str(place) if self.conversation_id is None else f"conversation {self.conversation_id}"
        return Part(key=found, place=place, value={name: getattr(self, name) for name in self.__slots__})


def told(exchanges: Sequence[Exchange], runs: Sequence[ToolRun]) -> tuple[list[Turn], list[dict[str, Any]]]:
    """The messages of a trace, and the tools that were declared with them.

    The exchange with the most messages tells it, of equal ones the last: titles, checks and summaries that are asked for beside the
    conversation are shorter. Runs of tools fill in the results that no message holds. Raises NotAConversation without any message.
    """
    spoken = [exchange for exchange in exchanges if exchange.messages]
    if not spoken:
        raise NotAConversation("A trace tells a conversation when a model was asked with messages; in this one none was.")
    longest = max(spoken, key=lambda exchange: (len(exchange.messages), exchange.began))
    turns = filled(joined(read_turns(longest.messages)), sorted(runs, key=lambda run: run.began))
    return turns, function_tools(longest.tools)


def filled(turns: list[Turn], runs: Iterable[ToolRun]) -> list[Turn]:
    """The messages, with the result of a run after each call that has none. runs: in the order in which they began.

    A call's run has its id; where runs have no ids, it is the first of the tool that no call before it took.
    """
    left: dict[tuple[str, str], deque[ToolRun]] = defaultdict(deque)
    for run in runs:
        left["id" if run.call_id else "name", run.call_id or run.name].append(run)
    has_answer = {id(call) for _, call in answered(turns)}
    whole, waiting = list[Turn](), list[Turn]()
    for turn in turns:
        if turn["role"] != "tool":
            whole, waiting = whole + waiting if waiting else whole, []
        whole.append(turn)
        for call in turn.get("tool_calls", ()):
            found = left["id", str(call["id"])] or left["name", str(call["name"])]
            taken = found.popleft() if found else None
            if taken is not None and id(call) not in has_answer:
                waiting.append(read_turn({"role": "tool", "content": taken.result, "tool_call_id": call["id"], "name": taken.name}, 0))
    return whole + waiting


def continued(said: list[Turn], told_next: list[Turn]) -> list[Turn]:
    """One conversation from what was said and what a later trace tells: all of it again, its end, or only what came after.

    What is told again may end differently, when an answer was asked for twice; the later one counts.
    """
    old = [_spoken(turn) for turn in said if turn["role"] != "system"]
    spoken_next = [turn for turn in told_next if turn["role"] != "system"]
    new = [_spoken(turn) for turn in spoken_next]
    shared = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))
    if shared and shared == len(new):
        return said
    if shared >= len(old) - 1 and (shared or not old):
        return told_next
    overlap = next((size for size in range(min(len(old), len(new)), 0, -1) if old[-size:] == new[:size]), 0)
    return [*said, *spoken_next[overlap:]]


def recorded_conversation(parts: list[Part]) -> Iterator[Record]:
    """The conversation of all traces that tell of it."""
    traces = sorted((RecordedTrace(**part.value) for part in parts), key=lambda trace: trace.began or 0.0)
    turns, first = list[Turn](), traces[0]
    for trace in traces:
        turns = continued(turns, trace.turns)
    yield parts[0].place.record(
        turns,
        conversation_id=first.conversation_id or first.trace_id,
        tools=read_tools(next((trace.tools for trace in reversed(traces) if trace.tools), [])),
        customer_id=_known(traces, "customer_id"),
        agent_version=_known(traces, "agent_version"),
        outcome=_known(traces, "outcome"),
        satisfaction_score=_known(traces, "satisfaction_score"),
        started_at=_moment(first.began),
        ended_at=_moment(max((trace.ended for trace in traces if trace.ended is not None), default=None)),
        tags={name: text for trace in traces for name, text in trace.tags.items()},
    )


def seconds(moment: Any) -> float | None:
    """Seconds since 1970 of a date in ISO's form; None for what is none, or is no date of a log."""
    try:
        found = datetime.fromisoformat(moment)
        since = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return since if 0 <= since < _LAST_SECOND else None


def seconds_of_nanoseconds(moment: Any) -> float | None:
    """Seconds of nanoseconds since 1970, which OTLP writes as text; None for what is no number."""
    is_number = isinstance(moment, int | str) and not isinstance(moment, bool)
    text = str(moment) if is_number else ""
    return int(text) / 1e9 if text.isascii() and text.isdecimal() and len(text) < 20 else None


def score_fields(scores: dict[str, Any]) -> dict[str, Any]:
    """What scores by name say: how satisfied the customer was, how it ended; the others become tags."""
    fields: dict[str, Any] = {"tags": {}}
    for name, value in scores.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name.lower() in ("satisfaction", "satisfaction_score", "csat") and is_number:
            fields["satisfaction_score"] = float(value)
        elif name.lower() == "outcome" and isinstance(value, str):
            fields["outcome"] = value
        elif isinstance(value, str | int | float):
            fields["tags"][f"score.{name}"] = str(value)
    return fields


def _spoken(turn: Turn) -> bytes:
    """What is equal when two messages say the same: ids of calls differ from one request to the next."""
    calls = [[call["name"], call["arguments"]] for call in turn.get("tool_calls", ())]
    return orjson.dumps([turn["role"], turn["content"], calls, turn.get("result")], option=orjson.OPT_SORT_KEYS, default=str)


def _known(traces: Sequence[RecordedTrace], name: str) -> Any:
    """What the last trace says that says it."""
    return next((value for trace in reversed(traces) if (value := getattr(trace, name)) is not None), None)


def _moment(began: float | None) -> str | None:
    return None if began is None else datetime.fromtimestamp(began, UTC).isoformat()
