"""Conversations as rows of a Parquet file: identifiers, outcome and scores as columns, messages as JSON text.

Tools are positions in a list that is kept once, in the footer of the file; until they are known a row stands without them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa
from pydantic import TypeAdapter

from agentgym.messages import Message
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

SCHEMA = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("customer_id", pa.string()),
        ("outcome", pa.string()),
        ("satisfaction_score", pa.float64()),
        ("agent_version", pa.string()),
        ("started_at", pa.string()),
        ("ended_at", pa.string()),
        ("agent_tokens", pa.int64()),
        ("latency_seconds", pa.float64()),
        ("tags", pa.string()),
        ("tools", pa.list_(pa.int32())),
        ("messages", pa.string()),
    ]
)
MOST_TOKENS = 2**63 - 1
_TOOLS = SCHEMA.get_field_index("tools")
_PLAIN = pa.schema([field for field in SCHEMA if field.name != "tools"])
_MESSAGES = TypeAdapter(tuple[Message, ...])


def rows_of(traces: Sequence[Trace]) -> pa.Table:
    """A row for each trace, without its tools."""
    columns: dict[str, list[Any]] = {name: [getattr(trace, name) for trace in traces] for name in _PLAIN.names}
    for name in ("started_at", "ended_at"):
        columns[name] = [None if moment is None else moment.isoformat() for moment in columns[name]]
    columns["tags"] = [orjson.dumps(tags, option=orjson.OPT_SORT_KEYS).decode() for tags in columns["tags"]]
    columns["messages"] = [_MESSAGES.dump_json(messages, exclude_defaults=True) for messages in columns["messages"]]
    return pa.table({name: _array(columns[name], _PLAIN.field(name).type) for name in _PLAIN.names}, schema=_PLAIN)


def with_tools(rows: pa.Table, positions: Sequence[Sequence[int] | None]) -> pa.Table:
    """The rows, each with the positions of its tools; None where the log says nothing of them."""
    return rows.add_column(_TOOLS, SCHEMA.field("tools"), pa.array(positions, type=pa.list_(pa.int32())))


def traces_of(rows: pa.Table | pa.RecordBatch, tools: Sequence[tuple[Tool, ...]]) -> Iterator[Trace]:
    """Rows as traces. What is read was validated before it was written, so only messages are parsed again. tools: of each row."""
    for row, scope in zip(rows.to_pylist(), tools, strict=True):
        row["messages"] = _MESSAGES.validate_json(row["messages"])
        row["tags"] = orjson.loads(row["tags"])
        row["tools"] = scope
        yield Trace.model_validate(row)


def trace_lines(rows: pa.Table, tools: Sequence[tuple[Tool, ...]]) -> Iterator[bytes]:
    """Rows as lines of JSON in the trace's own form; what is not known is left out. tools: of each row."""
    for row, scope in zip(rows.to_pylist(), tools, strict=True):
        known = {name: value for name, value in row.items() if value is not None}
        known |= {name: orjson.Fragment(row[name]) for name in ("tags", "messages")}
        if scope:
            known["tools"] = [orjson.Fragment(tool.model_dump_json(exclude_defaults=True)) for tool in scope]
        yield orjson.dumps(known, option=orjson.OPT_APPEND_NEWLINE)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    # JSON comes as bytes, which are UTF-8 by what wrote them.
    is_encoded = any(isinstance(value, bytes) for value in values[:1])
    return pa.array(values, type=pa.binary()).cast(kind) if is_encoded else pa.array(values, type=kind)
