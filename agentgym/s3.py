"""S3 as the store and the importers use it, through boto3: objects read as streams, written once, and its errors told by who can act.

Credentials, region, endpoint (AWS_ENDPOINT_URL) and tries (AWS_MAX_ATTEMPTS; three by default) come the way boto3 finds them.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from agentgym.errors import AgentGymError, InvalidInput, Unavailable

# Objects above this size go in parts, so that what is repeated after an error is a part.
PART_BYTES = 32 << 20
# A connection that breaks this often without a byte between is gone.
MOST_BREAKS = 5
_ABSENT = ("404", "NoSuchKey", "NotFound")
_FORBIDDEN = (401, 403)
_WRITTEN_BEFORE = ("PreconditionFailed", "412")
_WRITTEN_MEANWHILE = ("ConditionalRequestConflict", "409")
# Of stores that speak S3 and know no conditions, or keep no versions; their writes are whole or not at all too.
_NOT_IMPLEMENTED = ("NotImplemented", "501")


class Absent(Exception):
    """No object is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Object:
    """An object as it is listed. etag: changes when its bytes do."""

    bucket: str
    key: str
    size: int
    etag: str

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def find_object(bucket: str, key: str, *, client: Any = None) -> S3Object | None:
    """The object under this key; None when there is none. Raises InvalidInput where it may not be looked at, and Unavailable."""
    try:
        found = call("head_object", bucket, client=client, Key=key)
    except Absent:
        return None
    return S3Object(bucket=bucket, key=key, size=found["ContentLength"], etag=found["ETag"])


def list_objects(bucket: str, prefix: str, *, client: Any = None) -> Iterator[S3Object]:
    """Every object whose key begins with `prefix`, by key. Raises InvalidInput and Unavailable."""
    for found in _listed("list_objects_v2", "Contents", bucket, prefix, client):
        yield S3Object(bucket=bucket, key=found["Key"], size=found["Size"], etag=found["ETag"])


def delete_object(bucket: str, key: str, *, client: Any = None) -> None:
    """Takes an object away for good, with every version that the bucket keeps of it. Raises InvalidInput and Unavailable."""
    call("delete_object", bucket, client=client, Key=key)
    # A bucket that keeps versions has only hidden it.
    for kind in ("Versions", "DeleteMarkers"):
        with suppress(_NotImplemented):
            for kept in list(_listed("list_object_versions", kind, bucket, key, client)):
                if kept["Key"] == key:
                    call("delete_object", bucket, client=client, Key=key, VersionId=kept["VersionId"])


def write_once(bucket: str, key: str, content: bytes | Path, *, client: Any = None) -> None:
    """Writes bytes, or those of a file, under a key that tells them, whole or not at all; who writes them second changes nothing."""
    size = len(content) if isinstance(content, bytes) else content.stat().st_size
    with suppress(_WrittenBefore):
        if size <= PART_BYTES:
            body = content if isinstance(content, bytes) else content.read_bytes()
            _conditionally("put_object", bucket, client, Key=key, Body=body)
        else:
            _write_parts(bucket, key, content, client)


def open_object(found: S3Object, *, client: Any = None) -> io.BufferedReader:
    """The bytes of an object as they arrive; where the connection breaks, it is taken up again at the same byte."""
    return io.BufferedReader(_ObjectReader(found, client), buffer_size=1 << 20)


def call(operation: str, bucket: str, *, client: Any = None, **arguments: object) -> Any:
    """What S3 answers. Raises Absent, InvalidInput for what is forbidden, and Unavailable for everything else that went wrong."""
    with told(operation, bucket):
        return getattr(client or _client(), operation)(Bucket=bucket, **arguments)


@contextmanager
def told(operation: str, bucket: str) -> Iterator[None]:
    """Turns what boto3 raises inside into errors that say who can act."""
    # Imported here, because boto3 takes a moment which only those who use S3 should pay.
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    try:
        yield
    except ClientError as error:
        raise _answer(error.response, error, operation, bucket) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InvalidInput(f"S3 needs credentials for bucket {bucket!r}; {error}. Set them as boto3 reads them.") from error
    except BotoCoreError as error:
        raise Unavailable(
            f"S3 must be reachable for {operation}; got {error}. Check the network and the credentials, then run again."
        ) from error


def _listed(operation: str, kind: str, bucket: str, prefix: str, client: Any) -> Iterator[Any]:
    """Every entry of a listing, page after page."""
    marks = {"ContinuationToken": "NextContinuationToken", "KeyMarker": "NextKeyMarker", "VersionIdMarker": "NextVersionIdMarker"}
    mark: dict[str, Any] = {}
    while True:
        page = call(operation, bucket, client=client, Prefix=prefix, **mark)
        yield from page.get(kind, ())
        if not page.get("IsTruncated"):
            return
        mark = {name: page[found] for name, found in marks.items() if found in page}


def _answer(response: dict[str, Any], error: Exception, operation: str, bucket: str) -> Exception:
    code, status = response["Error"]["Code"], response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    if code in _ABSENT:
        return Absent(code)
    if code in _WRITTEN_BEFORE:
        return _WrittenBefore(code)
    if code in _WRITTEN_MEANWHILE:
        return _WrittenMeanwhile(code)
    if code in _NOT_IMPLEMENTED:
        return _NotImplemented(code)
    if status in _FORBIDDEN:
        return InvalidInput(f"S3 must allow {operation} on bucket {bucket!r}; it said {error}. Check the credentials and what they may do.")
    return Unavailable(f"S3 must accept {operation} on bucket {bucket!r}; it said {error}. Check the bucket and its permissions.")


class _WrittenBefore(Exception):
    """The key is taken already."""


class _WrittenMeanwhile(Exception):
    """Somebody writes the same key just now."""


class _NotImplemented(Exception):
    """A store that speaks S3, but not all of it."""


@lru_cache(maxsize=1)
def _made(environment: tuple[tuple[str, str], ...]) -> Any:
    import boto3

    return boto3.session.Session().client("s3")


def _client() -> Any:
    """One client for each state of the environment it is made from: making one takes a moment, and a listing asks often."""
    import os

    return _made(tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_"))))


def _conditionally(operation: str, bucket: str, client: Any, **arguments: object) -> Any:
    """A write that fails where the key is taken. One beside another of the same bytes is tried again: the other may still fail."""
    for _ in range(MOST_BREAKS):
        try:
            return call(operation, bucket, client=client, IfNoneMatch="*", **arguments)
        except _NotImplemented:
            return call(operation, bucket, client=client, **arguments)
        except _WrittenMeanwhile:
            continue
    raise Unavailable(f"A key is written by one at a time; {arguments['Key']!r} was being written by another each time. Run again.")


def _write_parts(bucket: str, key: str, content: bytes | Path, client: Any) -> None:
    upload = {"Key": key, "UploadId": call("create_multipart_upload", bucket, client=client, Key=key)["UploadId"]}
    try:
        sent = []
        for number, part in enumerate(_parts(content), 1):
            answer = call("upload_part", bucket, client=client, PartNumber=number, Body=part, **upload)
            sent.append({"PartNumber": number, "ETag": answer["ETag"]})
        _conditionally("complete_multipart_upload", bucket, client, MultipartUpload={"Parts": sent}, **upload)
    except BaseException:
        # Parts of an upload that is never completed would be kept, and paid for.
        with suppress(AgentGymError, Absent):
            call("abort_multipart_upload", bucket, client=client, **upload)
        raise


def _parts(content: bytes | Path) -> Iterator[bytes]:
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as opened:
        while part := opened.read(PART_BYTES):
            yield part


class _ObjectReader(io.RawIOBase):
    """The bytes of one version of an object, taken up again where a connection broke."""

    def __init__(self, found: S3Object, client: Any) -> None:
        self._found, self._client = found, client
        self._position, self._body = 0, None

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        from botocore.exceptions import BotoCoreError

        broken: Exception | None = None
        for _ in range(MOST_BREAKS):
            try:
                got = self._stream().read(len(buffer)) if self._position < self._found.size else b""
            except (BotoCoreError, OSError) as error:
                broken, self._body = error, None
                continue
            if not got and self._position < self._found.size:
                broken, self._body = EOFError("the answer ended early"), None
                continue
            buffer[: len(got)] = got
            self._position += len(got)
            return len(got)
        raise Unavailable(
            f"An object must stay within reach while it is read; {self._found.address} broke off after {self._position:,} of "
            f"{self._found.size:,} bytes: {broken}. Run again when S3 is back."
        ) from broken

    def _stream(self) -> Any:
        if self._body is None:
            rest = {"Range": f"bytes={self._position}-"} if self._position else {}
            try:
                answer = call("get_object", self._found.bucket, client=self._client, Key=self._found.key, IfMatch=self._found.etag, **rest)
            except (Absent, _WrittenBefore) as error:
                raise InvalidInput(
                    f"An object must not change while it is read; {self._found.address} is another one now, or gone. Read it again."
                ) from error
            self._body = answer["Body"]
        return self._body
