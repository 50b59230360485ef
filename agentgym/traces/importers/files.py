"""Log files on disk: which they are, where they came from, and their bytes."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from agentgym.errors import InvalidInput

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst")
SIDECARS = ("schema.json", "tools.json")
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file that traces came from; `name` is relative to what was imported, `digest` the SHA-256 of its bytes."""

    name: str
    digest: str


def log_files(path: Path, suffixes: Sequence[str] = JSON_SUFFIXES) -> list[Path]:
    """The file itself, or the logs in a folder and below it, by name; schemas and tool lists beside them are not logs."""
    if path.is_file():
        return [path]
    if not path.exists():
        raise InvalidInput(f"Traces are read from a file or a folder; nothing is at {str(path)!r}. Check the path.")
    found = sorted(file for file in path.rglob("*") if _is_log(file.relative_to(path), suffixes) and file.is_file())
    if not found:
        raise InvalidInput(
            f"A folder of traces holds {', '.join(suffixes)} files, or those with {' or '.join(COMPRESSED)}; {str(path)!r} has none. "
            "Check the path."
        )
    return found


def source_file(file: Path, root: Path) -> SourceFile:
    with _readable(file), file.open("rb") as opened:
        return SourceFile(name=file_name(file, root), digest=hashlib.file_digest(opened, "sha256").hexdigest())


def file_name(file: Path, root: Path) -> str:
    """The name of `file` in messages and lineage: relative to the imported folder, or the bare name."""
    return file.name if file == root else file.relative_to(root).as_posix()


def sidecar(file: Path, name: str) -> Path | None:
    """The file called `name`, plain or compressed, beside `file`."""
    return next((found for suffix in ("", *COMPRESSED) if (found := file.parent / f"{name}{suffix}").is_file()), None)


def read_json(path: Path) -> Any:
    """The one JSON value of a small file."""
    try:
        with open_log(path) as file:
            return orjson.loads(file.read())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{str(path)!r} must be JSON; {error}. Mend it, or take the file away.") from error


@contextmanager
def open_log(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, decompressed when it is gzip or Zstandard, whatever its name."""
    with _readable(path), path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        yield _decompressed(file, magic)


def begins_as_json(path: Path) -> bool:
    """Whether the file begins as an object or an array does."""
    with open_log(path) as file:
        return file.read(1 << 10).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _decompressed(file: BinaryIO, magic: bytes) -> BinaryIO:
    if magic.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if magic != _ZSTANDARD:
        return file
    # Imported here, because most logs are something else.
    import pyarrow

    return cast(BinaryIO, io.BufferedReader(pyarrow.CompressedInputStream(file, "zstd")))


def _is_log(name: Path, suffixes: Sequence[str]) -> bool:
    plain = name.name
    for compressed in COMPRESSED:
        plain = plain.removesuffix(compressed)
    is_hidden = any(part.startswith(".") for part in name.parts)
    return plain.endswith(tuple(suffixes)) and plain not in SIDECARS and not is_hidden


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tells what the disk or the decompressor says of `path` as InvalidInput."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInput(
            f"A log must be readable to its end; {str(path)!r} said {error}. Copy it again, or check its permissions."
        ) from error
