"""From a log to a snapshot in the store, batch by batch: validated, redacted, split and written, however long the log is."""

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from agentgym.garbage import rarely_collecting
from agentgym.store import ArtifactRef, Store
from agentgym.traces.balance import SplitBalance
from agentgym.traces.redaction import Redactor
from agentgym.traces.snapshot_file import SnapshotFile, SplitConfig
from agentgym.traces.source import Fingerprint, TraceSource
from agentgym.traces.validation import Validation, ValidationReport, nobody


@dataclass(frozen=True, kw_only=True)
class JudgedLog:
    """How much of a log can be used. data_docs: HTML pages by file name."""

    report: ValidationReport
    data_docs: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Ingestion:
    """A snapshot of what can be trusted, and what was put aside: JSON lines, of both logs where there are two."""

    snapshot: ArtifactRef
    quarantine: ArtifactRef
    balance: SplitBalance
    log: JudgedLog
    held_out: JudgedLog | None


def ingest(
    source: TraceSource,
    files: Fingerprint,
    store: Store,
    *,
    make_redactor: Callable[[], Redactor | None],
    is_forgotten: Callable[[str], bool] = nobody,
    split: SplitConfig | None = None,
    processes: int | None = None,
    on_progress: Callable[[int], None] = lambda read: None,
) -> Ingestion:
    """Reads the source and writes its snapshot; nothing is written when it raises, as `load_validated` and `DatasetSnapshot.write` do.

    make_redactor: one for each log, so that each has its own counts.   is_forgotten: as in `load_validated`.
    processes: that read side by side; by default one for each core.
    on_progress: told how many conversations were read so far, of both logs.
    """
    with ExitStack() as stack:
        stack.enter_context(rarely_collecting())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentgym-")))
        chosen = (split or SplitConfig()) if source.held_out is None else None
        file = stack.enter_context(SnapshotFile(folder / "snapshot.parquet", split=chosen))

        def begin(path: Path, limit: int | None = None) -> Validation:
            redactor = make_redactor()
            return Validation(
                path, source.format, mapping=source.mapping, limit=limit, redactor=redactor, is_forgotten=is_forgotten, processes=processes
            )

        log = begin(source.path, source.limit)
        _add(log, file, source.max_quarantined_share, on_progress)
        held_out = None
        if source.held_out is not None:
            read = log.report().read
            held_out = begin(source.held_out)
            file.begin_held_out()
            _add(held_out, file, source.max_quarantined_share, lambda more: on_progress(read + more))
        balance = file.close(sources=files.files, held_out_sources=files.held_out_files)
        quarantine = folder / "quarantine.jsonl"
        for judged in filter(None, (log, held_out)):
            judged.quarantine.write(quarantine)
        return Ingestion(
            snapshot=store.write_file(folder / "snapshot.parquet", suffix=".parquet"),
            quarantine=store.write_file(quarantine, suffix=".quarantine.jsonl"),
            balance=balance,
            log=_judged(log),
            held_out=_judged(held_out) if held_out else None,
        )


def _add(validation: Validation, file: SnapshotFile, max_quarantined_share: float, on_progress: Callable[[int], None]) -> None:
    for accepted in validation.accepted(on_progress=on_progress):
        file.add(accepted.rows, accepted.observed)
    validation.refuse_unusable(max_quarantined_share)


def _judged(validation: Validation) -> JudgedLog:
    return JudgedLog(report=validation.report(), data_docs=validation.data_docs())
