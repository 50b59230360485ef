"""What a job is asked and what it answers, as files that outlive both sides."""

import hashlib
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlparse

from pyarrow import fs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentgym.errors import InvalidInput, Unavailable
from agentgym.store import ArtifactRef, write_atomically
from agentgym.training.config import TrainingConfig
from agentgym.training.result import IterationMetrics

Spec = TypeVar("Spec", bound=BaseModel)


class TrainPolicySpec(BaseModel):
    """Train the checkpoint on the pack.

    snapshot: with the conversations that other methods than Flow-GRPO learn from.   teacher: the checkpoint that is distilled.
    store: where the new checkpoint is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pack: ArtifactRef
    checkpoint: ArtifactRef
    snapshot: ArtifactRef | None = None
    teacher: ArtifactRef | None = None
    config: TrainingConfig = TrainingConfig()
    store: str

    @property
    def digest(self) -> str:
        """SHA-256 of what decides the result: contents and configuration, not where they lie."""
        contents = [ref.digest if ref else "none" for ref in (self.pack, self.checkpoint, self.snapshot, self.teacher)]
        decisive = "\n".join([*contents, self.config.model_dump_json()])
        return hashlib.sha256(decisive.encode()).hexdigest()


class TrainPolicyResult(BaseModel):
    """The trained checkpoint, and each iteration in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: ArtifactRef
    curve: tuple[IterationMetrics, ...]


class ServeAgentSpec(BaseModel):
    """Serve the champion of this agent, and whatever is tested against it, at this address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str = Field(min_length=1)
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8000, ge=1, le=65535)
    replicas: int = Field(default=1, ge=1, le=1000)


class Serving(BaseModel):
    """The line on standard output that says that an endpoint answers, and by which plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    epoch: int


class Progress(BaseModel):
    """One line on a job's standard output: `done` of `total` iterations, and what the last of them measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    done: int
    total: int
    metrics: IterationMetrics


def read_spec(address: str, kind: type[Spec]) -> Spec:
    """The spec at a path, `file://` or `s3://` address. Raises InvalidInput that names the field that is wrong."""
    content = read_address(address)
    if content is None:
        raise InvalidInput(f"--spec must lead to a file; nothing is at {address}. Write the spec there first.")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InvalidInput(f"A spec must have the fields of {kind.__name__}; {where}: {first['msg']}. Mend {address}.") from error


def read_address(address: str) -> bytes | None:
    """The bytes at a path, a `file://` or an `s3://` address; None when nothing is there."""
    files, path = _located(address)
    try:
        with files.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"A job must be able to read {address}; it said {error}. Check the address and the permissions.") from error


def write_address(address: str, content: bytes) -> None:
    """Writes whole or not at all."""
    files, path = _located(address)
    if isinstance(files, fs.LocalFileSystem):
        write_atomically(Path(path), content)
        return
    try:
        with files.open_output_stream(path) as stream:
            stream.write(content)
    except OSError as error:
        raise Unavailable(
            f"A job must be able to write {address}; it said {error}. Check the address, the permissions and the space."
        ) from error


def remove_address(address: str) -> None:
    files, path = _located(address)
    if files.get_file_info(path).type != fs.FileType.NotFound:
        files.delete_file(path)


def beside(address: str, name: str) -> str:
    """The address of `name` in the folder of `address`."""
    return f"{address.rpartition('/')[0]}/{name}" if "/" in address else name


def _located(address: str) -> tuple[fs.FileSystem, str]:
    scheme = urlparse(address).scheme
    if scheme in ("", "file"):
        return fs.LocalFileSystem(), str(Path(urlparse(address).path if scheme else address).absolute())
    if scheme == "s3":
        files, path = fs.FileSystem.from_uri(address)
        return files, path
    raise InvalidInput(f"An address is a path, file:// or s3://; got {address!r}. Give one of them.")
