"""Conversations as three flat tables, of conversations, messages and tool calls, so that rules over columns can judge them.

Great Expectations does not look inside nested columns. What a single cell cannot show, such as whether a result answers a call, is
worked out here and becomes a column; whether it is allowed is for the rules to say.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pandas as pd

from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.importers import Record
from agentgym.traces.mining import answered_calls

Row = dict[str, Any]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "conversations": (
        "row",
        "conversation_id",
        "used_at",
        "copy_of",
        "messages",
        "user_messages",
        "assistant_messages",
        "outcome",
        "satisfaction_score",
        "agent_tokens",
        "latency_seconds",
    ),
    "messages": ("row", "position", "role", "is_empty", "answers_a_call"),
    "tool_calls": ("row", "position", "name", "is_declared", "arguments_type", "schema_violation", "is_answered"),
}


@dataclass(slots=True)
class Memory:
    """What was seen of a log so far: where each conversation_id was used, and which conversation each content belongs to."""

    places: dict[str, str] = field(default_factory=dict)
    contents: dict[bytes, str] = field(default_factory=dict)


def flatten(records: Sequence[Record], memory: Memory) -> dict[str, pd.DataFrame]:
    """The tables of a batch, by name; `row` is the record's place in the batch, `position` the message's place in its conversation.

    memory: of the batches before; the batch is added to it.
    """
    rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for row, record in enumerate(records):
        messages = [_unchecked(message) for message in record.messages]
        pairs = answered_calls(messages)
        rows["conversations"].append({"row": row, **_conversation(record, messages, memory)})
        rows["messages"] += ({"row": row, **line} for line in _message_rows(messages, pairs))
        rows["tool_calls"] += ({"row": row, **line} for line in _call_rows(messages, pairs, record.tools))
    return {name: pd.DataFrame(rows[name], columns=list(columns)) for name, columns in COLUMNS.items()}


def _unchecked(message: Mapping[str, Any]) -> Message:
    """The message with whatever it holds: its types are among what is to be judged."""
    calls = tuple(ToolCall.model_construct(**call) for call in message.get("tool_calls", ()))
    return Message.model_construct(**{**message, "tool_calls": calls})


def _conversation(record: Record, messages: Sequence[Message], memory: Memory) -> Row:
    place, roles = f"{record.source}:{record.line}", [message.role for message in messages]
    identity = record.conversation_id or None
    content = hashlib.sha256(orjson.dumps([record.fields.get("customer_id"), record.messages], default=str)).digest()[:16]
    return {
        "conversation_id": identity,
        "used_at": _seen(memory.places, identity, place) if identity else None,
        "copy_of": _seen(memory.contents, content, identity or place) if any(message.tool_calls for message in messages) else None,
        "messages": len(messages),
        "user_messages": roles.count("user"),
        "assistant_messages": roles.count("assistant"),
        "outcome": _text(record.fields.get("outcome")),
        **{name: _number(record.fields.get(name)) for name in ("satisfaction_score", "agent_tokens", "latency_seconds")},
    }


def _seen(memory: dict[Any, str], key: object, name: str) -> str | None:
    """Who has the key already; None when it is new, and then `name` has it."""
    first = memory.setdefault(key, name)
    return None if first is name else first


def _number(value: object) -> float | None:
    """The number a field holds. What is no number, or not finite, becomes infinite, which no range holds: a NaN would pass for unknown."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return float(value) if is_number else math.inf  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    """The text a field holds, or what stands there instead; None when nothing does."""
    return None if value is None else str(value)


def _message_rows(messages: Sequence[Message], pairs: Sequence[tuple[ToolCall, Message | None]]) -> list[Row]:
    answers = {id(answer) for _, answer in pairs}
    return [
        {
            "position": position,
            "role": _text(message.role) or "",
            "is_empty": message.role in ("user", "assistant") and not message.content and not message.tool_calls,
            "answers_a_call": id(message) in answers if message.role == "tool" else None,
        }
        for position, message in enumerate(messages)
    ]


def _call_rows(messages: Sequence[Message], pairs: Sequence[tuple[ToolCall, Message | None]], tools: Sequence[Tool]) -> list[Row]:
    positions = [position for position, message in enumerate(messages) for _ in message.tool_calls]
    declared = {tool.name: tool for tool in tools}
    return [{"position": position, **_call(call, answer, declared)} for position, (call, answer) in zip(positions, pairs, strict=True)]


def _call(call: ToolCall, answer: Message | None, declared: Mapping[str, Tool]) -> Row:
    """A call the tool refused is what happened, and an agent may learn from it; one that worked must be as declared."""
    is_refused = answer is not None and answer.is_error
    is_object = isinstance(call.arguments, dict)
    tool = declared.get(call.name) if isinstance(call.name, str) else None
    violations = tool.violations(call.arguments) if tool and is_object and not is_refused else []
    return {
        "name": _text(call.name) or None,
        "is_declared": bool(tool) if declared and not is_refused else None,
        "arguments_type": "object" if is_object else type(call.arguments).__name__,
        "schema_violation": "; ".join(violations) or None,
        "is_answered": answer is not None,
    }
