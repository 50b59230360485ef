"""Log files on disk: which they are, where they came from, and their bytes."""

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import orjson

from agentgym.errors import InvalidInput
from agentgym.traces.importers.s3_path import S3Path
from agentgym.traces.importers.url import refuse_url

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst")
SIDECARS = ("schema.json", "tools.json")
_BUFFER_BYTES = 1 << 18
_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file that traces came from; `name` is relative to what was imported.

    digest: the SHA-256 of its bytes; of an object in S3, of what S3 says of its version.
    """

    name: str
    digest: str


def file_bytes(file: Path) -> int:
    """Its size; 0 where that cannot be told."""
    try:
        return file.size if isinstance(file, S3Path) else file.stat().st_size
    except OSError:
        return 0


def what_is_at(path: Path) -> Literal["file", "folder", "nothing"]:
    """Raises InvalidInput when nobody can look there: the name is too long, or a folder on the way may not be entered."""
    try:
        return "file" if path.is_file() else "folder" if path.exists() else "nothing"
    except OSError as error:
        raise InvalidInput(
            f"A path must be one that can be looked at; {str(path)!r} cannot: {error.strerror}. Check the path, and who may read there."
        ) from error


def log_files(path: Path, suffixes: Sequence[str] = JSON_SUFFIXES) -> list[Path]:
    """The file itself, or the logs in a folder and below it, by name; schemas and tool lists beside them are not logs."""
    kind = what_is_at(path)
    if kind == "file":
        return [path]
    if kind == "nothing":
        refuse_url(path)
        raise InvalidInput(f"Traces are read from a file or a folder; nothing is at {str(path)!r}. Check the path.")
    found = sorted(file for file in path.rglob("*") if _is_log(file.relative_to(path), suffixes) and file.is_file())
    if not found:
        raise InvalidInput(
            f"A folder of traces holds {', '.join(suffixes)} files, or those with {' or '.join(COMPRESSED)}; {str(path)!r} has none. "
            "Check the path."
        )
    return found


def source_file(file: Path, root: Path) -> SourceFile:
    if isinstance(file, S3Path):
        return SourceFile(name=file_name(file, root), digest=file.version_digest())
    with _readable(file), file.open("rb") as opened:
        return SourceFile(name=file_name(file, root), digest=hashlib.file_digest(opened, "sha256").hexdigest())


def file_name(file: Path, root: Path) -> str:
    """The name of `file` in messages and lineage: relative to the imported folder, or the bare name."""
    return file.name if file == root else file.relative_to(root).as_posix()


def sidecar(file: Path, name: str) -> Path | None:
    """The file called `name`, plain or compressed, beside `file`."""
    names = [f"{name}{suffix}" for suffix in ("", *COMPRESSED)]
    if isinstance(file, S3Path):
        return next(filter(None, map(file.beside, names)), None)
    return next((found for each in names if (found := file.parent / each).is_file()), None)


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
    with _readable(path), _opened(path) as file:
        yield _decompressed(cast(BinaryIO, file), file.peek(4)[:4])


def _opened(path: Path) -> io.BufferedReader:
    if isinstance(path, S3Path):
        return io.BufferedReader(_Followed(path.open("rb"), path), _BUFFER_BYTES)
    return io.BufferedReader(_Followed(path.open("rb", buffering=0), path), _BUFFER_BYTES)


class BytesRead:
    """How far each log file was read; what is read again counts once. `count` is of all of them."""

    def __init__(self) -> None:
        self._positions: dict[Path, int] = {}

    @property
    def count(self) -> int:
        return sum(self._positions.values())

    def reach(self, path: Path, position: int) -> None:
        self._positions[path] = max(position, self._positions.get(path, 0))


_bytes_read: ContextVar[BytesRead | None] = ContextVar("bytes_read", default=None)


@contextmanager
def following_bytes() -> Iterator[BytesRead]:
    """What is read of log files inside."""
    token = _bytes_read.set(followed := BytesRead())
    try:
        yield followed
    finally:
        _bytes_read.reset(token)


class _Followed(io.RawIOBase):
    """The bytes of a file, told to whoever follows."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path, self._position = file, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._file.readinto(buffer)
        self._position += count
        if (followed := _bytes_read.get()) is not None:
            followed.reach(self._path, self._position)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


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
