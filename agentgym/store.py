"""Where artifacts live: written once under their content's digest, read back by reference with the digest checked."""

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

from pydantic import BaseModel, ConfigDict

from agentgym.errors import ContractBroken, InvalidInput, Unavailable


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
    """A store in an S3 bucket, through boto3; credentials come the way boto3 finds them."""

    def __init__(self, bucket: str, prefix: str, client: Any = None) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._client = client

    def write(self, content: bytes, *, suffix: str = "") -> ArtifactRef:
        digest = hashlib.sha256(content).hexdigest()
        key = "/".join(filter(None, (self.prefix, digest[:2], f"{digest}{suffix}")))
        ref = ArtifactRef(uri=f"s3://{self.bucket}/{key}", digest=digest)
        if not self.exists(ref):
            self._call("put_object", Bucket=self.bucket, Key=key, Body=content)
        return ref

    def read(self, ref: ArtifactRef) -> bytes:
        response = self._call("get_object", Bucket=self.bucket, Key=self._key(ref), missing=ref)
        return _checked(response["Body"].read(), ref)

    def exists(self, ref: ArtifactRef) -> bool:
        try:
            self._call("head_object", Bucket=self.bucket, Key=self._key(ref), missing=ref)
        except InvalidInput:
            return False
        return True

    def refs(self) -> Iterator[ArtifactRef]:
        for entry in self._listed("list_objects_v2", "Contents", f"{self.prefix}/" if self.prefix else ""):
            if digest := _digest_in(entry["Key"].rpartition("/")[2]):
                yield ArtifactRef(uri=f"s3://{self.bucket}/{entry['Key']}", digest=digest)

    def delete(self, ref: ArtifactRef) -> None:
        key = self._key(ref)
        self._call("delete_object", Bucket=self.bucket, Key=key)
        # A bucket that keeps versions has only hidden it.
        for kind in ("Versions", "DeleteMarkers"):
            for kept in list(self._listed("list_object_versions", kind, key)):
                if kept["Key"] == key:
                    self._call("delete_object", Bucket=self.bucket, Key=key, VersionId=kept["VersionId"])

    def _listed(self, operation: str, kind: str, prefix: str) -> Iterator[Any]:
        """Every entry of a listing, page after page."""
        marks = {"ContinuationToken": "NextContinuationToken", "KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
        mark: dict[str, Any] = {}
        while True:
            page = self._call(operation, Bucket=self.bucket, Prefix=prefix, **mark)
            yield from page.get(kind, ())
            if not page.get("IsTruncated"):
                return
            mark = {name: page[found] for name, found in marks.items() if found in page}

    def _key(self, ref: ArtifactRef) -> str:
        return urlparse(ref.uri).path.lstrip("/")

    def _call(self, operation: str, missing: ArtifactRef | None = None, **arguments: object) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self.client, operation)(**arguments)
        except ClientError as error:
            if missing is not None and error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                raise _gone(missing) from error
            raise Unavailable(
                f"S3 must accept {operation} on bucket {self.bucket!r}; it said {error}. Check the bucket and its permissions."
            ) from error
        except BotoCoreError as error:
            raise Unavailable(
                f"S3 must be reachable for {operation}; got {error}. Check the network and the credentials, then run again."
            ) from error

    @property
    def client(self) -> Any:
        if self._client is None:
            import boto3

            self._client = boto3.client("s3")
        return self._client


def write_atomically(path: Path, content: bytes) -> None:
    """Writes through a temporary file beside `path`, so that a reader never sees half of it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".writing-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Unavailable(f"The store must be writable; {path.parent} said {error}. Free some space or choose another store.") from error


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
