"""Where artifacts live: written once under their content's digest, read back by reference with the digest checked."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import unquote, urlparse

from pydantic import BaseModel, ConfigDict

from agentgym.errors import ContractBroken, InvalidInput, Unavailable
from agentgym.s3 import delete_object, find_object, list_objects, open_object, write_once


class ArtifactRef(BaseModel):
    """Where an artifact is, and the SHA-256 of its bytes. What steps hand to each other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    digest: str

    def __str__(self) -> str:
        return f"{self.uri} ({self.digest[:12]})"


class Store(Protocol):
    """Content-addressed storage: writing equal bytes twice gives the same reference and changes nothing."""

    def write(self, content: bytes, *, suffix: str = "") -> ArtifactRef:
        """The reference of `content`; `suffix`, such as `.json`, helps people who look at the folder."""
        ...

    def write_file(self, path: Path, *, suffix: str = "") -> ArtifactRef:
        """The same for the bytes of a file, which memory need not hold."""
        ...

    def read(self, ref: ArtifactRef) -> bytes:
        """The bytes of `ref`. Raises InvalidInput when they are gone, ContractBroken when they are not those that were written."""
        ...

    def exists(self, ref: ArtifactRef) -> bool: ...

    def refs(self) -> Iterator[ArtifactRef]:
        """Every artifact, by digest; what has no digest for a name is none."""
        ...

    def delete(self, ref: ArtifactRef) -> None:
        """Takes the artifact away for good, with every version a bucket keeps of it; one that is gone already stays so."""
        ...


def open_store(root: str | Path) -> Store:
    """The store at a folder, a `file://` or an `s3://bucket/prefix` address."""
    address = urlparse(str(root))
    if address.scheme == "s3":
        return S3Store(bucket=address.netloc, prefix=address.path.strip("/"))
    if address.scheme in ("", "file"):
        return FileStore(_path(str(root)) if address.scheme else Path(root))
    raise InvalidInput(f"A store is a folder, file:// or s3://; got {str(root)!r}. Set AGENTGYM_STORE to one of them.")


class FileStore:
    """A store in a folder. A file appears whole or not at all, also when the process is killed."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def write(self, content: bytes, *, suffix: str = "") -> ArtifactRef:
        digest = hashlib.sha256(content).hexdigest()
        path = self.root / digest[:2] / f"{digest}{suffix}"
        if not path.exists():
            write_atomically(path, content)
        return ArtifactRef(uri=path.as_uri(), digest=digest)

    def write_file(self, path: Path, *, suffix: str = "") -> ArtifactRef:
        digest = _digest_of(path)
        kept = self.root / digest[:2] / f"{digest}{suffix}"
        if not kept.exists():
            with writing_atomically(kept) as file, path.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        return ArtifactRef(uri=kept.as_uri(), digest=digest)

    def read(self, ref: ArtifactRef) -> bytes:
        try:
            return _checked(_path(ref.uri).read_bytes(), ref)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _gone(ref) from error
        except OSError as error:
            raise Unavailable(f"The store must be readable; {ref.uri} said {error}. Check its permissions and run again.") from error

    def exists(self, ref: ArtifactRef) -> bool:
        return _path(ref.uri).is_file()

    def refs(self) -> Iterator[ArtifactRef]:
        for path in sorted(self.root.glob("*/*")):
            if (digest := _digest_in(path.name)) and path.is_file():
                yield ArtifactRef(uri=path.as_uri(), digest=digest)

    def delete(self, ref: ArtifactRef) -> None:
        try:
            _path(ref.uri).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"The store must be writable; {ref.uri} said {error}. Check its permissions and run again.") from error


class S3Store:
    """A store in an S3 bucket. An object is written once, whole or not at all, also when two write it at once."""

    def __init__(self, bucket: str, prefix: str, client: Any = None) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client = client

    def write(self, content: bytes, *, suffix: str = "") -> ArtifactRef:
        return self._write(content, hashlib.sha256(content).hexdigest(), suffix)

    def write_file(self, path: Path, *, suffix: str = "") -> ArtifactRef:
        return self._write(path, _digest_of(path), suffix)

    def _write(self, content: bytes | Path, digest: str, suffix: str) -> ArtifactRef:
        key = "/".join(filter(None, (self.prefix, digest[:2], f"{digest}{suffix}")))
        ref = ArtifactRef(uri=f"s3://{self.bucket}/{key}", digest=digest)
        if not self.exists(ref):
            write_once(self.bucket, key, content, client=self._client)
        return ref

    def read(self, ref: ArtifactRef) -> bytes:
        """The bytes of `ref`; a connection that breaks is taken up again."""
        found = find_object(self.bucket, self._key(ref), client=self._client)
        if found is None:
            raise _gone(ref)
        with open_object(found, client=self._client) as file:
            return _checked(file.read(), ref)

    def exists(self, ref: ArtifactRef) -> bool:
        return find_object(self.bucket, self._key(ref), client=self._client) is not None

    def refs(self) -> Iterator[ArtifactRef]:
        for found in list_objects(self.bucket, f"{self.prefix}/" if self.prefix else "", client=self._client):
            if digest := _digest_in(found.key.rpartition("/")[2]):
                yield ArtifactRef(uri=found.address, digest=digest)

    def delete(self, ref: ArtifactRef) -> None:
        delete_object(self.bucket, self._key(ref), client=self._client)

    def _key(self, ref: ArtifactRef) -> str:
        return urlparse(ref.uri).path.lstrip("/")


def write_atomically(path: Path, content: bytes) -> None:
    """Writes through a temporary file beside `path`, so that a reader never sees half of it."""
    with writing_atomically(path) as file:
        file.write(content)


@contextmanager
def writing_atomically(path: Path, *, named: str = "store") -> Iterator[BinaryIO]:
    """A file that is at `path` when the block has ended, and nowhere when it raised.

    named: what it is in the message of Unavailable, which is raised when it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
            try:
                yield cast(BinaryIO, file)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Unavailable(
            f"The {named} must be writable; {path.parent} said {error}. Free some space or choose another {named}."
        ) from error


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _path(uri: str) -> Path:
    """The path of a file:// address, in which a space is written %20."""
    return Path(unquote(urlparse(uri).path))


def _digest_in(name: str) -> str | None:
    """The digest that an artifact's name begins with; None where it begins with none."""
    found = re.match(r"[0-9a-f]{64}(?![0-9a-f])", name)
    return found[0] if found else None


def _checked(content: bytes, ref: ArtifactRef) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != ref.digest:
        raise ContractBroken(
            f"An artifact never changes after it is written; {ref.uri} was {ref.digest[:12]} and is {digest[:12]}. "
            "Restore it from a backup."
        )
    return content


def _gone(ref: ArtifactRef) -> InvalidInput:
    return InvalidInput(f"A reference must lead to an artifact; nothing is at {ref.uri}. Run the step that makes it again.")
