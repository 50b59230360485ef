"""What can be worked out of a batch of conversations by itself: redacted, typed, flat, compared with none and written as rows.

What needs the batches before, such as whether an id was used, is added by the validation. So batches can be prepared side by side, in any
process, and the result is the same.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agentgym.messages import Message
from agentgym.tools import Tool
from agentgym.traces.importers import Record, RejectedLine
from agentgym.traces.mining import ToolEvidence, answered_calls
from agentgym.traces.near_duplicates import signature_of
from agentgym.traces.redaction import Redactor
from agentgym.traces.rows import MOST_TOKENS, rows_of
from agentgym.traces.tables import FlatBatch, flat_batch, read_unchecked
from agentgym.traces.trace import Trace

Item = Record | RejectedLine

# Enough conversations to make a batch's fixed cost small, few enough to hold as raw JSON.
BATCH_CONVERSATIONS = 4_000
BATCH_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A batch with everything that can be said of it alone.

    unreadable: what held no conversation.   conversations: source, line and id of each of the others.   flat: their tables.
    faults: what is wrong with the types of a conversation, by its number in the batch; the others have a row each.
    numbers: whose row it is.   rows: without tools.   signatures: shape (rows, 128).   calls: tool calls of each row.
    undeclared: by row, the messages with calls of tools that the conversation does not declare, and with their answers.
    redacted: replaced values by kind.
    """

    unreadable: tuple[RejectedLine, ...]
    conversations: tuple[tuple[str, int, str | None], ...]
    flat: FlatBatch
    faults: dict[int, tuple[str, ...]]
    numbers: tuple[int, ...]
    rows: pa.Table
    signatures: NDArray[np.uint32]
    calls: tuple[int, ...]
    undeclared: dict[int, tuple[Message, ...]]
    redacted: Counter[str]

    def rejected(self, number: int, *reasons: str) -> RejectedLine:
        source, line, conversation_id = self.conversations[number]
        return RejectedLine(source=source, line=line, conversation_id=conversation_id, reasons=reasons)


def batches(items: Iterable[Item], *, conversations: int | None = None) -> Iterator[list[Item]]:
    """The items in batches of so many, or fewer where they are long."""
    batch, size = list[Item](), 0
    for item in items:
        batch.append(item)
        size += item.json_bytes if isinstance(item, Record) else 0
        if len(batch) >= (conversations or BATCH_CONVERSATIONS) or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def prepare(items: Sequence[Item], redactor: Redactor | None) -> Prepared:
    before = Counter(redactor.counts) if redactor else Counter[str]()
    redacted = [_redacted(item, redactor) for item in items]
    records = [item for item in redacted if isinstance(item, Record)]
    judged = [_typed(record) for record in records]
    said = [_said(trace, record) for trace, record in zip(judged, records, strict=True)]
    traces = [trace for trace in judged if isinstance(trace, Trace)]
    return Prepared(
        unreadable=tuple(item for item in redacted if isinstance(item, RejectedLine)),
        conversations=tuple((record.source, record.line, record.conversation_id) for record in records),
        flat=flat_batch(records, said),
        faults={number: trace.reasons for number, trace in enumerate(judged) if isinstance(trace, RejectedLine)},
        numbers=tuple(number for number, trace in enumerate(judged) if isinstance(trace, Trace)),
        rows=rows_of(traces),
        signatures=np.array([signature_of(trace) for trace in traces], np.uint32),
        calls=tuple(sum(len(message.tool_calls) for message in trace.messages) for trace in traces),
        undeclared={row: found for row, trace in enumerate(traces) if (found := _undeclared(trace))},
        redacted=redactor.counts - before if redactor else before,
    )


def _redacted(item: Item, redactor: Redactor | None) -> Item:
    if redactor is None:
        return item
    return redactor.redact(item) if isinstance(item, Record) else redactor.redact_rejected(item)


def _typed(record: Record) -> Trace | RejectedLine:
    """The trace, when a snapshot can hold it too."""
    trace = record.to_trace()
    if isinstance(trace, Trace) and (trace.agent_tokens or 0) > MOST_TOKENS:
        return record.rejected(f"agent_tokens: Input should be less than or equal to {MOST_TOKENS}")
    return trace


def _said(trace: Trace | RejectedLine, record: Record) -> Sequence[Message]:
    return trace.messages if isinstance(trace, Trace) else read_unchecked(record)


def _undeclared(trace: Trace) -> tuple[Message, ...]:
    declared = {tool.name for tool in trace.tools}
    if all(call.name in declared for message in trace.messages for call in message.tool_calls):
        return ()
    found: list[Message] = []
    for call, answer in answered_calls(trace.messages):
        if call.name not in declared:
            found += [Message(role="assistant", tool_calls=(call,)), *(() if answer is None else (answer,))]
    return tuple(found)


def evidence(prepared: Prepared, row: int, tools: tuple[Tool, ...]) -> ToolEvidence:
    """What a row's conversation tells of tools.   tools: that it declares."""
    _, _, conversation_id = prepared.conversations[prepared.numbers[row]]
    return ToolEvidence(str(conversation_id), tools, prepared.undeclared.get(row, ()))
