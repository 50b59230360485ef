"""Which conversations of a log can be trusted: the rest is quarantined, each with its reasons, and the log goes on without them."""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.importers import Record, RejectedLine, TraceFormat, read_records
from agentgym.traces.mining import ToolMiner
from agentgym.traces.near_duplicates import NearDuplicates
from agentgym.traces.redaction import Redactor
from agentgym.traces.tables import Memory, flatten
from agentgym.traces.trace import Trace

if TYPE_CHECKING:
    from agentgym.traces.expectations import Finding

MAX_QUARANTINED_SHARE = 0.2
# Enough rows to make a batch's fixed cost small, few enough to hold as raw JSON.
BATCH_CONVERSATIONS = 2_000
_INDEX = re.compile(r"\.\d+\b")


class ValidationReport(BaseModel):
    """How much of a log can be used. read = accepted + quarantined + forgotten; `reasons` counts conversations by the rule they broke.

    redacted: values that placeholders stand for, by kind.   near_duplicates: accepted conversations that nearly repeat an earlier one.
    forgotten: conversations that were left out because somebody asked that they be forgotten.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: int
    accepted: int
    quarantined: int
    tool_calls: int
    reasons: dict[str, int]
    redacted: dict[str, int] = {}
    near_duplicates: int = 0
    forgotten: int = 0

    @property
    def quarantined_share(self) -> float:
        """A proportion in 0–1; 0 of an empty log."""
        return self.quarantined / self.read if self.read else 0.0


@dataclass(frozen=True, kw_only=True)
class ValidatedTraces:
    """The accepted traces of a log, and what was kept out. data_docs: HTML pages by file name."""

    traces: tuple[Trace, ...]
    rejected: tuple[RejectedLine, ...]
    report: ValidationReport
    data_docs: Mapping[str, str]

    def quarantine(self) -> bytes:
        """What was kept out as JSON lines: source, line, conversation_id and reasons; the conversations themselves stay where they are."""
        return b"".join(
            orjson.dumps({"source": line.source, "line": line.line, "conversation_id": line.conversation_id, "reasons": line.reasons})
            + b"\n"
            for line in self.rejected
        )


def load_validated(
    path: Path,
    format: TraceFormat,
    *,
    mapping: Path | None = None,
    limit: int | None = None,
    max_quarantined_share: float = MAX_QUARANTINED_SHARE,
    redactor: Redactor | None = None,
    is_forgotten: Callable[[str], bool] = lambda _: False,
) -> ValidatedTraces:
    """The conversations of a log that can be trusted, or `limit` of them, drawn from the whole log.

    redactor: replaces personal data before anything else sees it; without one the log is taken as it is.
    is_forgotten: told a conversation's id, as logged and as redacted, says whether it is to be left out.
    Only the accepted traces are held in memory; the log is read and judged in batches.
    Raises InvalidInput when the log cannot be read, is in another format, contradicts itself in a tool's schema, or when more than
    `max_quarantined_share` of it (0–1) is quarantined; InsufficientData when nothing in it calls a tool.
    """
    validation = Validation(redactor=redactor, is_forgotten=is_forgotten)
    records = read_records(path, format, mapping=mapping)
    traces = tuple(validation.accepted(records if limit is None else drawn(records, limit)))
    report = validation.report()
    _refuse_unusable(report, validation.rejected, path, max_quarantined_share)
    return ValidatedTraces(traces=traces, rejected=tuple(validation.rejected), report=report, data_docs=validation.data_docs())


def drawn(records: Iterable[Record | RejectedLine], limit: int) -> list[Record | RejectedLine]:
    """`limit` of the records, each as likely as any other, in the order of the log; no more than these are held at a time.

    Records are drawn by their place: equal logs and limits give the same ones, and a larger limit keeps those of a smaller one.
    """
    rng = np.random.default_rng(0)
    lots = ((rng.random(), place, record) for place, record in enumerate(records))
    return [record for _, _, record in sorted(heapq.nsmallest(limit, lots), key=lambda lot: lot[1])]


@dataclass
class Validation:
    """One pass over a log, batch by batch."""

    redactor: Redactor | None = None
    is_forgotten: Callable[[str], bool] = lambda _: False
    rejected: list[RejectedLine] = field(default_factory=list)
    _accepted: int = 0
    _tool_calls: int = 0
    _forgotten: int = 0

    def __post_init__(self) -> None:
        # Great Expectations takes seconds to import, which only those who validate should pay.
        from agentgym.traces.expectations import Inspection

        self._inspection = Inspection()
        self._memory = Memory()
        self._miner = ToolMiner()
        self._near_duplicates = NearDuplicates()

    def accepted(self, records: Iterable[Record | RejectedLine]) -> Iterator[Trace]:
        """The traces that keep every rule; the others are added to `rejected`."""
        remaining = (read for record in records if (read := self._taken(record)) is not None)
        while batch := list(islice(remaining, BATCH_CONVERSATIONS)):
            self.rejected += (line for line in batch if isinstance(line, RejectedLine))
            yield from self._judged([record for record in batch if isinstance(record, Record)])

    def report(self) -> ValidationReport:
        reasons = Counter(rule for line in self.rejected for rule in {_rule(reason) for reason in line.reasons})
        return ValidationReport(
            read=self._accepted + len(self.rejected) + self._forgotten,
            accepted=self._accepted,
            quarantined=len(self.rejected),
            tool_calls=self._tool_calls,
            reasons=dict(reasons.most_common()),
            redacted=dict(self.redactor.counts.most_common()) if self.redactor else {},
            near_duplicates=self._near_duplicates.count,
            forgotten=self._forgotten,
        )

    def data_docs(self) -> dict[str, str]:
        return self._inspection.pages()

    def _taken(self, record: Record | RejectedLine) -> Record | RejectedLine | None:
        """The record, redacted; None for one that is forgotten under either of its ids."""
        if not self._is_left_out(record):
            redacted = self._redacted(record)
            if not self._is_left_out(redacted):
                return redacted
        self._forgotten += 1
        return None

    def _is_left_out(self, record: Record | RejectedLine) -> bool:
        return record.conversation_id is not None and self.is_forgotten(record.conversation_id)

    def _redacted(self, record: Record | RejectedLine) -> Record | RejectedLine:
        if self.redactor is None:
            return record
        return self.redactor.redact(record) if isinstance(record, Record) else self.redactor.redact_rejected(record)

    def _judged(self, records: Sequence[Record]) -> Iterator[Trace]:
        findings: dict[int, list[Finding]] = {}
        for finding in self._inspection.inspect(flatten(records, self._memory)):
            findings.setdefault(finding.row, []).append(finding)
        for row, record in enumerate(records):
            reasons = [finding.reason for finding in findings.get(row, ())]
            judged = record.rejected(*reasons) if reasons else record.to_trace()
            if isinstance(judged, Trace):
                self._count(judged)
                yield judged
            else:
                self.rejected.append(judged)

    def _count(self, trace: Trace) -> None:
        self._miner.observe(trace)
        self._near_duplicates.observe(trace)
        self._accepted += 1
        self._tool_calls += sum(len(message.tool_calls) for message in trace.messages)


def _rule(reason: str) -> str:
    """The rule of a reason, without where and with what it was broken."""
    return _INDEX.sub("", reason.partition(";")[0].removesuffix("."))


def _refuse_unusable(report: ValidationReport, rejected: Sequence[RejectedLine], path: Path, max_quarantined_share: float) -> None:
    if not report.read:
        raise InvalidInput(f"A log needs at least one conversation; {str(path)!r} is empty. Check that the export ran.")
    first = rejected[0] if rejected else None
    if first and (not report.accepted or report.quarantined_share > max_quarantined_share):
        raise InvalidInput(
            f"At most {max_quarantined_share:.0%} of a log may be unusable; {report.quarantined} of {report.read} conversations in "
            f"{str(path)!r} are. The first is {first.source}:{first.line}: {' '.join(first.reasons)} "
            "Mend the export, or allow a larger share."
        )
    if not report.tool_calls:
        raise InsufficientData(
            f"An agent learns tools from a log with tool calls; the {report.accepted} conversations in {str(path)!r} make none. "
            "Export the calls with the messages."
        )
