"""How far a log was read, told as the progress of the present stage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentgym.traces.importers import following_bytes, log_bytes
from agentgym.traces.source import TraceSource
from tasks.progress import report_progress

_MEBIBYTE = 1 << 20


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
