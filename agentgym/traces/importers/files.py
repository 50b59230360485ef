"""Log files on disk: which they are, where they came from, and their bytes."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from agentgym.errors import InvalidInput

SUFFIXES = (".json", ".jsonl", ".ndjson")
SIDECARS = ("schema.json", "tools.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file that traces came from; `name` is relative to what was imported, `digest` the SHA-256 of its bytes."""

    name: str
    digest: str


def log_files(path: Path) -> list[Path]:
    """The file itself, or the logs in a folder and below it, by name; schemas and tool lists beside them are not logs."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise InvalidInput(f"Traces are read from a file or a folder; nothing is at {str(path)!r}. Check the path.")
    found = sorted(file for file in path.rglob("*") if _is_log(file.relative_to(path)) and file.is_file())
    if not found:
        raise InvalidInput(
            f"A folder of traces holds {', '.join(SUFFIXES)} files, or those with .gz; {str(path)!r} has none. Check the path."
        )
    return found


def source_files(path: Path) -> tuple[SourceFile, ...]:
    """Every log under `path` with its digest: where traces came from."""
    return tuple(SourceFile(name=file_name(file, path), digest=_digest(file)) for file in log_files(path))


def file_name(file: Path, root: Path) -> str:
    """The name of `file` in messages and lineage: relative to the imported folder, or the bare name."""
    return file.name if file == root else file.relative_to(root).as_posix()


def sidecar(file: Path, name: str) -> Path | None:
    """The file called `name`, or `name`.gz, beside `file`."""
    return next((found for found in (file.parent / name, file.parent / f"{name}.gz") if found.is_file()), None)


def read_json(path: Path) -> Any:
    """The one JSON value of a small file."""
    try:
        with open_log(path) as file:
            return orjson.loads(file.read())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{str(path)!r} must be JSON; {error}. Mend it, or take the file away.") from error


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed when it is gzip whatever its name."""
    with _readable(path), path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file


def _is_log(name: Path) -> bool:
    plain = name.name.removesuffix(".gz")
    is_hidden = any(part.startswith(".") for part in name.parts)
    return plain.endswith(SUFFIXES) and plain not in SIDECARS and not is_hidden


def _digest(file: Path) -> str:
    with _readable(file), file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tells what the disk or the decompressor says of `path` as InvalidInput."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"A log must be readable to its end; {str(path)!r} said {error}. Copy it again, or check its permissions."
        ) from error
