"""What must hold of any log: it is refused with a message, or each conversation is accepted or quarantined with a reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agentgym.errors import AgentGymError
from agentgym.traces.importers import Record, read_records
from agentgym.traces.memory import Memory
from agentgym.traces.preparation import Item, Prepared, prepare
from agentgym.traces.redaction import SECRET_BYTES, Redactor
from agentgym.traces.rows import trace_lines, traces_of
from agentgym.traces.tables import tables_of
from agentgym.traces.validation import Validation

REDACTOR = Redactor(b"0" * SECRET_BYTES)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """read = typed + untyped; what has the types of a trace may still break a rule."""

    read: int = 0
    typed: int = 0
    untyped: int = 0
    is_refused: bool = False


def judge(log: Path, format: str, *, mapping: Path | None = None, kept: Iterable[str] = (), in_tables: bool = True) -> Judged:
    """kept: conversations that nobody touched, which must be read as they are.   in_tables: also with pandas, which takes longest.

    Raises AssertionError, and whatever should not be raised.
    """
    try:
        items = list(read_records(log, format, mapping=mapping))
    except AgentGymError as error:
        if not str(error).strip():
            raise AssertionError("A refusal has a message; this one has none.") from error
        return Judged(is_refused=True)
    prepared = prepare(items, REDACTOR)
    untyped = len(prepared.unreadable) + len(prepared.faults)
    assert len(items) == untyped + prepared.rows.num_rows == len(prepared.unreadable) + len(prepared.conversations)
    assert all(line.reasons and all(map(str.strip, line.reasons)) for line in prepared.unreadable)
    assert all(reasons and all(map(str.strip, reasons)) for reasons in prepared.faults.values())
    _require_readable(items, prepared)
    if in_tables:
        tables_of(prepared.flat, Memory())
    lost = set(kept) - set(prepared.rows.column("conversation_id").to_pylist())
    assert not lost, f"lost {lost}"
    return Judged(read=len(items), typed=prepared.rows.num_rows, untyped=untyped)


def judge_wholly(log: Path, format: str, *, mapping: Path | None = None) -> None:
    """The same with Great Expectations and all that needs the whole log, which takes a hundred times as long."""
    try:
        items = list(read_records(log, format, mapping=mapping))
        validation = Validation(log, format, mapping=mapping, redactor=REDACTOR, processes=1)
        accepted = sum(batch.rows.num_rows for batch in validation.accepted())
    except AgentGymError:
        return
    report = validation.report()
    assert report.read == report.accepted + report.quarantined == len(items), (report, len(items))
    assert (report.accepted, report.quarantined) == (accepted, len(list(validation.quarantine)))


def _require_readable(items: list[Item], prepared: Prepared) -> None:
    """What a snapshot and an import would hold can be read again."""
    records = [item for item in items if isinstance(item, Record)]
    tools = [records[number].tools for number in prepared.numbers]
    assert len(list(traces_of(prepared.rows, tools))) == len(list(trace_lines(prepared.rows, tools))) == len(tools)
