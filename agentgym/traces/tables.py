"""Conversations as three flat tables, of conversations, messages and tool calls, so that rules over columns can judge them.

Great Expectations does not look inside nested columns. What a single cell cannot show, such as whether a result answers a call, is
worked out here and becomes a column; whether it is allowed is for the rules to say.
"""

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pandas as pd

from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.importers import Record
from agentgym.traces.memory import Memory
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


@dataclass(frozen=True, kw_only=True, slots=True)
class FlatBatch:
    """The tables of a batch as columns, but for what only the batches before can tell.

    places: where each conversation is in the log.   contents: a digest of what is said in it; None where nothing is called.
    """

    columns: Mapping[str, Mapping[str, list[Any]]]
    places: Sequence[str]
    contents: Sequence[bytes | None]


def flatten(records: Sequence[Record], memory: Memory) -> dict[str, pd.DataFrame]:
    """The tables of a batch, by name; `row` is the record's place in the batch, `position` the message's place in its conversation.

    memory: of the batches before; the batch is added to it.
    """
    return tables_of(flat_batch(records), memory)


def flat_batch(records: Sequence[Record], messages: Sequence[Sequence[Message]] | None = None) -> FlatBatch:
    """The columns of a batch. messages: of each record, where somebody has read them already."""
    rows: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    read = [read_unchecked(record) for record in records] if messages is None else messages
    columns = _no_rows()
    for row, (record, said) in enumerate(zip(records, read, strict=True)):
        pairs = answered_calls(said)
        rows["conversations"].append({"row": row, **_conversation(record, said)})
        _add_messages(columns["messages"], row, said, pairs)
        rows["tool_calls"] += ({"row": row, **line} for line in _call_rows(said, pairs, record.tools))
    for name, lines in rows.items():
        for column in COLUMNS[name] if lines else ():
            columns[name][column] += [line.get(column) for line in lines]
    return FlatBatch(
        columns=columns,
        places=[f"{record.source}:{record.line}" for record in records],
        contents=[
            _content(record) if any(message.tool_calls for message in said) else None for record, said in zip(records, read, strict=True)
        ],
    )


def _no_rows() -> dict[str, dict[str, list[Any]]]:
    return {name: {column: [] for column in names} for name, names in COLUMNS.items()}


def joined(batches: Sequence[FlatBatch]) -> FlatBatch:
    """Batches one after another as one; rows count on."""
    columns = _no_rows()
    begin = 0
    for batch in batches:
        for name, table in columns.items():
            for column, values in table.items():
                more = batch.columns[name][column]
                values += [row + begin for row in more] if column == "row" and begin else more
        begin += len(batch.places)
    return FlatBatch(
        columns=columns,
        places=[place for batch in batches for place in batch.places],
        contents=[content for batch in batches for content in batch.contents],
    )


def tables_of(flat: FlatBatch, memory: Memory) -> dict[str, pd.DataFrame]:
    """All tables; the batch is added to the memory."""
    return {"conversations": conversation_table(flat, memory), **message_tables(flat)}


def message_tables(flat: FlatBatch) -> dict[str, pd.DataFrame]:
    return {name: pd.DataFrame(flat.columns[name], columns=list(COLUMNS[name])) for name in COLUMNS if name != "conversations"}


def conversation_table(flat: FlatBatch, memory: Memory, broken: Collection[int] = ()) -> pd.DataFrame:
    """The conversations with what was seen of each before; the batch is added to the memory.

    broken: rows that are kept out whatever is found. They are not remembered, or one that is mended later would pass for their copy.
    """
    identities = [None if row in broken else named for row, named in enumerate(flat.columns["conversations"]["conversation_id"])]
    contents = [None if row in broken else content for row, content in enumerate(flat.contents)]
    names = [identity or place for identity, place in zip(identities, flat.places, strict=True)]
    seen = {"used_at": memory.used_at(identities, flat.places), "copy_of": memory.copy_of(contents, names)}
    return pd.DataFrame({**flat.columns["conversations"], **seen}, columns=list(COLUMNS["conversations"]))


def read_unchecked(record: Record) -> list[Message]:
    """The messages with whatever they hold: their types are among what is to be judged."""
    return [_unchecked(message) for message in record.messages]


def _unchecked(message: Mapping[str, Any]) -> Message:
    calls = tuple(ToolCall.model_construct(**call) for call in message.get("tool_calls", ()))
    return Message.model_construct(**{**message, "tool_calls": calls})


def _conversation(record: Record, messages: Sequence[Message]) -> Row:
    roles = [message.role for message in messages]
    return {
        "conversation_id": record.conversation_id or None,
        "messages": len(messages),
        "user_messages": roles.count("user"),
        "assistant_messages": roles.count("assistant"),
        "outcome": _text(record.fields.get("outcome")),
        **{name: _number(record.fields.get(name)) for name in ("satisfaction_score", "agent_tokens", "latency_seconds")},
    }


def _content(record: Record) -> bytes:
    return hashlib.sha256(orjson.dumps([record.fields.get("customer_id"), record.messages], default=str)).digest()[:16]


def _number(value: object) -> float | None:
    """The number a field holds. What is no number, or not finite, becomes infinite, which no range holds: a NaN would pass for unknown."""
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return float(value) if is_number else math.inf  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    """The text a field holds, or what stands there instead; None when nothing does."""
    return None if value is None else str(value)


def _add_messages(
    columns: Mapping[str, list[Any]], row: int, messages: Sequence[Message], pairs: Sequence[tuple[ToolCall, Message | None]]
) -> None:
    """By column, because of all that is judged messages are the most."""
    answers = {id(answer) for _, answer in pairs}
    columns["row"].extend([row] * len(messages))
    columns["position"].extend(range(len(messages)))
    columns["role"].extend([_text(message.role) or "" for message in messages])
    columns["is_empty"].extend(
        [message.role in ("user", "assistant") and not message.content and not message.tool_calls for message in messages]
    )
    columns["answers_a_call"].extend([id(message) in answers if message.role == "tool" else None for message in messages])


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
