"""`s3://bucket/key` as a path, so that logs in a bucket are read like logs in a folder, streamed."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Any, Self

from agentgym.errors import InvalidInput
from agentgym.s3 import S3Object, find_object, list_objects, open_object


def log_path(path: Path | str) -> Path:
    """The path itself, or the object, or the objects below a key, that it names. A path swallows one of the two slashes.

    Raises InvalidInput for an empty text, which as a path would be the current folder.
    """
    text = str(path)
    if not text.strip():
        raise InvalidInput("A log is a file or a folder; got an empty path. Give its path, or . for the current folder.")
    return S3Path(text) if text.startswith("s3:/") else Path(path)


class S3Path(PosixPath):
    """An object, or all objects below a key as if it were a folder. Only what importers ask of a path is there."""

    found: S3Object | None = None
    # Keys that were listed with this one, so that looking for what stands beside it asks nothing.
    listed: frozenset[str] | None = None

    def __str__(self) -> str:
        text = super().__str__()
        return text.replace("s3:/", "s3://", 1) if text.startswith("s3:/") and not text.startswith("s3://") else text

    @property
    def bucket(self) -> str:
        return self.parts[1] if len(self.parts) > 1 else ""

    @property
    def key(self) -> str:
        return "/".join(self.parts[2:])

    def is_file(self) -> bool:
        return self._look() is not None

    def exists(self) -> bool:
        return self.is_file() or next(self._below(), None) is not None

    def absolute(self) -> Self:
        return self

    def rglob(self, pattern: str) -> Iterator[Self]:  # type: ignore[override]
        """Every object below. pattern: `*`; another one is not asked for."""
        below = list(self._below())
        keys = frozenset(found.key for found in below)
        for found in below:
            path = type(self)(f"s3:/{found.bucket}/{found.key}")
            path.found, path.listed = found, keys
            yield path

    def beside(self, name: str) -> Self | None:
        """The object of this name in the same folder."""
        path = type(self)(str(self.parent / name))
        is_there = path.is_file() if self.listed is None else path.key in self.listed
        return path if is_there else None

    def open(self, mode: str = "rb", *args: Any, **kwargs: Any) -> io.BufferedReader:  # type: ignore[override]
        found = self._look()
        if found is None:
            raise FileNotFoundError(f"no object {str(self)!r}")
        return open_object(found)

    @property
    def size(self) -> int:
        """In bytes; 0 when there is no object."""
        found = self._look()
        return 0 if found is None else found.size

    def version_digest(self) -> str:
        """SHA-256 of the object's size and ETag: another one when its bytes change, without reading them."""
        found = self._look()
        return hashlib.sha256(f"{found.size} {found.etag}".encode() if found else b"").hexdigest()

    def _look(self) -> S3Object | None:
        if self.found is None and self.bucket and self.key:
            self.found = find_object(self.bucket, self.key)
        return self.found

    def _below(self) -> Iterator[S3Object]:
        folder = f"{self.key}/" if self.key else ""
        return (found for found in list_objects(self.bucket, folder) if found.size and not found.key.endswith("/"))
