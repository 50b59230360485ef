"""Where a command writes what it makes of a log: a file of this machine that is not the log."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from agentgym.errors import InvalidInput
from agentgym.traces.importers.s3_path import S3Path
from agentgym.traces.source import TraceSource


def require_out_file(out: Path, source: TraceSource) -> None:
    """Raises InvalidInput where nothing can be written, and where it would take the place of what is read."""
    if out.is_dir():
        raise InvalidInput(f"--out is a file; {str(out)!r} is a folder. Name a file in it.")
    if out.parts[:1] == ("s3:",):
        raise InvalidInput(f"--out is a file of this machine; {str(out)!r} is in a bucket. Write it here, and copy it there.")
    read = [path.resolve() for path in (source.path, source.held_out, source.mapping) if path is not None and not isinstance(path, S3Path)]
    if any(out.resolve() == path or path in out.resolve().parents for path in read):
        raise InvalidInput(f"What is written may not take the place of the log, or become part of it; {str(out)!r} would. Write elsewhere.")


@contextmanager
def compressed_as_named(file: IO[bytes], out: Path) -> Iterator[IO[bytes]]:
    """The file to write to, gzipped where its name says so; equal content gives equal bytes."""
    if out.suffix != ".gz":
        yield file
        return
    with gzip.GzipFile(fileobj=file, filename="", mode="wb", mtime=0) as packed:
        yield cast(Any, packed)
