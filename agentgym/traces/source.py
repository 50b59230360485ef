"""Which conversations a run of the loop is about."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agentgym.traces.importers import SourceFile, TraceFormat, log_path, source_files


def _named(given: Any) -> Any:
    """Refuses an empty text, which as a path would be the current folder."""
    return log_path(given) if given == "" else given


LogPath = Annotated[Path, BeforeValidator(_named), AfterValidator(log_path)]


class TraceSource(BaseModel):
    """A log, and perhaps another to judge on.

    path, held_out: files, folders of them, or s3:// with the key of an object or of all below it; without `held_out` a share of the
    customers is held out.
    mapping: for rows of a table, the file that says what its columns mean.
    limit: how many conversations of `path` are used, drawn from all over it; None for all.
    max_quarantined_share: more that cannot be used stops the run.
    redact: whether personal data is replaced by placeholders before anything is stored; redact_names: names too, by an installed package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: LogPath
    format: TraceFormat = "jsonl"
    held_out: LogPath | None = None
    mapping: LogPath | None = None
    limit: int | None = Field(default=None, ge=1)
    max_quarantined_share: float = Field(default=0.2, ge=0, le=1)
    redact: bool = True
    redact_names: bool = False


class Fingerprint(BaseModel):
    """The files of a source as they are now, by digest; `secret_name` tells which secret their placeholders come from, if any.

    forgotten: tells which conversations are to be left out; None where none are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[SourceFile, ...]
    held_out_files: tuple[SourceFile, ...] = ()
    secret_name: str | None = None
    forgotten: str | None = None


def fingerprint(source: TraceSource) -> Fingerprint:
    """Raises InvalidInput when a file is missing or cannot be read."""
    held_out = source_files(source.held_out, source.format, mapping=source.mapping) if source.held_out else ()
    return Fingerprint(files=source_files(source.path, source.format, mapping=source.mapping), held_out_files=held_out)
