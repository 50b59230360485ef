"""A log as every command reads it, and how far it was read, told as the progress of the present stage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agentgym.settings import Settings
from agentgym.traces.importers import following_bytes, log_bytes
from agentgym.traces.source import TraceSource
from agentgym.traces.trace import Trace
from tasks.forgotten import forgotten_in
from tasks.progress import report_progress
from tasks.redaction import redactor_of

_MEBIBYTE = 1 << 20


def usable_traces(source: TraceSource, settings: Settings, *, scenario: str, path: Path | None = None) -> tuple[Trace, ...]:
    """The conversations that can be trusted, without those that were forgotten.

    They are redacted with the secret of the workspace, as those that versions learned from: on it rests the split, too, where a customer is
    known by an address.   path: of the held-out log, which is read whole; None for the source's own.   Raises as `load_validated` does.
    """
    # Imports Great Expectations, which only whoever reads a log pays for.
    from agentgym.traces.validation import load_validated

    return load_validated(
        path or source.path,
        source.format,
        mapping=source.mapping,
        limit=source.limit if path is None else None,
        max_quarantined_share=source.max_quarantined_share,
        redactor=redactor_of(source, settings, scenario=scenario),
        is_forgotten=forgotten_in(settings),
    ).traces


@contextmanager
def reading_progress(source: TraceSource) -> Iterator[Callable[[int], None]]:
    """What is to be told how many conversations were read: it reports them beside the MiB of the files, where there are files."""
    logs = [path for path in (source.path, source.held_out) if path is not None]
    sizes = [log_bytes(path, source.format) for path in logs]
    total = sum(size for size in sizes if size is not None)
    with following_bytes() as read:

        def report(conversations: int) -> None:
            done = min(read.count, total) if None not in sizes else conversations
            whole = total if None not in sizes else conversations
            unit = _MEBIBYTE if None not in sizes else 1
            report_progress(done // unit, max(whole // unit, 1), f"{conversations:,} conversations")

        yield report
