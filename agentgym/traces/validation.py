"""Which conversations of a log can be trusted: the rest is quarantined, each with its reasons, and the log goes on without them."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.crew import Tools, prepared_batches
from agentgym.traces.drawing import drawn
from agentgym.traces.importers import RejectedLine, TraceFormat, read_records
from agentgym.traces.memory import Memory
from agentgym.traces.mining import ToolEvidence, ToolMiner
from agentgym.traces.near_duplicates import NearDuplicates
from agentgym.traces.preparation import Item, Prepared, batches, evidence
from agentgym.traces.quarantine import Quarantine, quarantined
from agentgym.traces.redaction import Redactor
from agentgym.traces.rows import traces_of
from agentgym.traces.tables import conversation_table, joined, message_tables
from agentgym.traces.trace import Trace

if TYPE_CHECKING:
    pass

MAX_QUARANTINED_SHARE = 0.2
BATCH_CONVERSATIONS = 2_000
# Great Expectations takes hardly longer for so many than for a few.
JUDGED_CONVERSATIONS = 8_000


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


def nobody(_: str) -> bool:
    """Asked whether a conversation is forgotten, says no."""
    return False


@dataclass(frozen=True, kw_only=True)
class ValidatedTraces:
    """The accepted traces of a log, and what was kept out. data_docs: HTML pages by file name."""

    traces: tuple[Trace, ...]
    rejected: tuple[RejectedLine, ...]
    report: ValidationReport
    data_docs: Mapping[str, str]

    def quarantine(self) -> bytes:
        """What was kept out as JSON lines: source, line, conversation_id and reasons; the conversations themselves stay where they are."""
        return b"".join(map(quarantined, self.rejected))


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """Conversations of a batch that keep every rule. rows: without tools.   observed: of each row, as much as tells of its tools."""

    rows: pa.Table
    observed: Sequence[ToolEvidence]

    def traces(self) -> Iterator[Trace]:
        return traces_of(self.rows, [trace.tools for trace in self.observed])


def load_validated(
    path: Path,
    format: TraceFormat,
    *,
    mapping: Path | None = None,
    limit: int | None = None,
    max_quarantined_share: float = MAX_QUARANTINED_SHARE,
    redactor: Redactor | None = None,
    is_forgotten: Callable[[str], bool] = nobody,
    processes: int | None = None,
) -> ValidatedTraces:
    """The conversations of a log that can be trusted, or `limit` of them, drawn from the whole log.

    redactor: replaces personal data before anything else sees it; without one the log is taken as it is.
    is_forgotten: told a conversation's id, as logged and as redacted, says whether it is to be left out.
    processes: that read it side by side; by default one for each core where it is long.
    All accepted traces are held in memory: `Validation` gives them batch by batch.
    Raises InvalidInput when the log cannot be read, is in another format, contradicts itself in a tool's schema, or when more than
    `max_quarantined_share` of it (0–1) is quarantined; InsufficientData when nothing in it calls a tool.
    """
    validation = Validation(path, format, mapping=mapping, limit=limit, redactor=redactor, is_forgotten=is_forgotten, processes=processes)
    traces = tuple(trace for accepted in validation.accepted() for trace in accepted.traces())
    validation.refuse_unusable(max_quarantined_share)
    return ValidatedTraces(
        traces=traces, rejected=tuple(validation.quarantine), report=validation.report(), data_docs=validation.data_docs()
    )


class Validation:
    """One pass over a log, batch by batch; memory holds a few batches, however long the log is.

    conversations_in_log: read so far, those that a limit does not draw too.
    """

    def __init__(
        self,
        path: Path,
        format: TraceFormat,
        *,
        mapping: Path | None = None,
        limit: int | None = None,
        redactor: Redactor | None = None,
        is_forgotten: Callable[[str], bool] = nobody,
        processes: int | None = None,
    ) -> None:
        # Great Expectations takes seconds to import, which only those who validate should pay.
        from agentgym.traces.expectations import Inspection

        self.quarantine = Quarantine()
        self._path, self._redactor, self._processes = path, redactor, processes
        self._is_forgotten = is_forgotten
        self.conversations_in_log = 0
        records = self._counted(read_records(path, format, mapping=mapping))
        self._items: Iterable[Item] = records if limit is None else drawn(records, limit)
        self._inspection, self._memory, self._miner, self._near_duplicates = Inspection(), Memory(), ToolMiner(), NearDuplicates()
        self._accepted = self._tool_calls = self._forgotten = 0

    def accepted(self, *, on_progress: Callable[[int], None] = lambda read: None) -> Iterator[Accepted]:
        """The conversations that keep every rule, in the order of the log; the others are added to the quarantine.

        on_progress: told how many conversations were read so far, after each batch.
        """
        cut = batches(self._remaining(), conversations=BATCH_CONVERSATIONS)
        waiting, read, count = list[tuple[Tools, Prepared]](), 0, 0
        for tools, prepared in prepared_batches(cut, self._redactor, processes=self._processes):
            waiting.append((tools, prepared))
            count += len(prepared.conversations)
            read += len(prepared.conversations) + len(prepared.unreadable)
            on_progress(read)
            if count >= JUDGED_CONVERSATIONS:
                yield from self._judged(waiting)
                waiting, count = [], 0
        yield from self._judged(waiting)

    def report(self) -> ValidationReport:
        return ValidationReport(
            read=self._read,
            accepted=self._accepted,
            quarantined=self.quarantine.count,
            tool_calls=self._tool_calls,
            reasons=dict(self.quarantine.reasons.most_common()),
            redacted=dict(self._redactor.counts.most_common()) if self._redactor else {},
            near_duplicates=self._near_duplicates.count,
            forgotten=self._forgotten,
        )

    def data_docs(self) -> dict[str, str]:
        return self._inspection.pages()

    def refuse_unusable(self, max_quarantined_share: float) -> None:
        """Raises InvalidInput and InsufficientData as `load_validated` does."""
        _refuse_unusable(self.report(), next(iter(self.quarantine.first), None), self._path, max_quarantined_share)

    @property
    def _read(self) -> int:
        return self._accepted + self.quarantine.count + self._forgotten

    def _counted(self, items: Iterable[Item]) -> Iterator[Item]:
        for item in items:
            self.conversations_in_log += 1
            yield item

    def _remaining(self) -> Iterator[Item]:
        return (item for item in self._items if not self._is_left_out(item.conversation_id))

    def _is_left_out(self, conversation_id: str | None) -> bool:
        """Whether the conversation is forgotten, which is counted."""
        is_left_out = conversation_id is not None and self._is_forgotten(conversation_id)
        self._forgotten += is_left_out
        return is_left_out

    def _judged(self, batches: Sequence[tuple[Tools, Prepared]]) -> Iterator[Accepted]:
        found = self._findings([prepared for _, prepared in batches])
        for (tools, prepared), findings in zip(batches, found, strict=True):
            yield self._sorted_out(prepared, tools, findings)

    def _sorted_out(self, prepared: Prepared, tools: Tools, findings: Mapping[int, Sequence[str]]) -> Accepted:
        """findings: the rules that a conversation breaks, by its number in the batch."""
        self.quarantine.extend(line for line in prepared.unreadable if not self._is_left_out(line.conversation_id))
        # An id that says who somebody is was redacted since, and may be known as forgotten in that form alone.
        left_out = {number for number, (_, _, named) in enumerate(prepared.conversations) if self._is_left_out(named)}
        reasons = {**prepared.faults, **findings}
        self.quarantine.extend(prepared.rejected(number, *reasons[number]) for number in sorted(reasons.keys() - left_out))
        rows = [row for row, number in enumerate(prepared.numbers) if number not in reasons and number not in left_out]
        seen = [evidence(prepared, row, tools[prepared.numbers[row]]) for row in rows]
        self._count(prepared, rows, seen)
        is_whole = len(rows) == len(prepared.numbers)
        return Accepted(rows=prepared.rows if is_whole else prepared.rows.take(pa.array(rows, pa.int64())), observed=seen)

    def _findings(self, batches: Sequence[Prepared]) -> list[dict[int, list[str]]]:
        """Of each batch: by the number of a conversation, the rules it breaks, those of the whole conversation first."""
        ends = list(accumulate(len(batch.conversations) for batch in batches))
        begins = [0, *ends[:-1]]
        found: list[dict[int, list[str]]] = [{} for _ in batches]
        if not batches:
            return found
        flat = joined([batch.flat for batch in batches])
        of_messages = self._inspection.inspect(message_tables(flat))
        faulty = {begin + number for begin, batch in zip(begins, batches, strict=True) for number in batch.faults}
        broken = faulty | {finding.row for finding in of_messages}
        of_conversations = self._inspection.inspect({"conversations": conversation_table(flat, self._memory, broken)})
        for finding in (*of_conversations, *of_messages):
            batch = bisect_right(ends, finding.row)
            found[batch].setdefault(finding.row - begins[batch], []).append(finding.reason)
        return found

    def _count(self, prepared: Prepared, rows: Sequence[int], seen: Sequence[ToolEvidence]) -> None:
        for row, trace in zip(rows, seen, strict=True):
            self._miner.observe(trace)
            self._near_duplicates.observe_signature(prepared.signatures[row])
            self._tool_calls += prepared.calls[row]
        self._accepted += len(rows)


def _refuse_unusable(report: ValidationReport, first: RejectedLine | None, path: Path, max_quarantined_share: float) -> None:
    if not report.read:
        raise InvalidInput(f"A log needs at least one conversation; {str(path)!r} is empty. Check that the export ran.")
    if first and not report.accepted:
        raise InvalidInput(
            f"Something of a log must be usable; {report.quarantined} of {report.read} conversations in {str(path)!r} are not. "
            f"The first is {first.source}:{first.line}: {' '.join(first.reasons)} Mend the export, or check the format."
        )
    if first and report.quarantined_share > max_quarantined_share:
        raise InvalidInput(
            f"At most {max_quarantined_share:.0%} of a log may be unusable; {report.quarantined} of {report.read} conversations in "
            f"{str(path)!r} are. The first is {first.source}:{first.line}: {' '.join(first.reasons)} "
            "Mend the export, or take what can be used out of it with `agentgym traces import --max-quarantined`."
        )
    if not report.tool_calls:
        raise InsufficientData(
            f"An agent learns tools from a log with tool calls; {report.accepted} of {report.read} conversations in {str(path)!r} "
            "were read and understood, and make none. Export the calls with the messages."
        )
