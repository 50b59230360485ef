"""The formats a log can be in, and the one seam through which all of them are read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from agentgym.errors import InvalidInput
from agentgym.traces.importers.chat import read_chat
from agentgym.traces.importers.files import log_files
from agentgym.traces.importers.json_values import Value, read_values
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.sgd import read_sgd
from agentgym.traces.trace import Trace

TraceFormat = Literal["jsonl", "json", "openai", "sgd"]
Reader = Callable[[Path, Path], Iterator[Record | RejectedLine]]

_READERS: dict[str, Reader] = {"jsonl": read_chat, "json": read_chat, "openai": read_chat, "sgd": read_sgd}


def import_traces(path: Path, format: TraceFormat) -> Iterator[Trace | RejectedLine]:
    """The conversations of a file, or of a folder's files by name; plain or gzip.

    Each field has its type and range; what the messages say to each other is checked by `load_validated`.
    Raises InvalidInput when the path is missing or unreadable, or holds another format.
    """
    for record in read_records(path, format):
        yield record.to_trace() if isinstance(record, Record) else record


def read_records(path: Path, format: TraceFormat) -> Iterator[Record | RejectedLine]:
    """The conversations as they were logged, in the trace's field names, before any check."""
    if format not in _READERS:
        raise InvalidInput(f"A format is one of {', '.join(get_args(TraceFormat))}; got {format!r}. Choose the one the log is in.")
    files = log_files(path)
    _refuse_wrong_format(files[0], format)
    for file in files:
        yield from _READERS[format](file, path)


def _refuse_wrong_format(file: Path, format: TraceFormat) -> None:
    """Raises InvalidInput when the first conversation is of another reader's format."""
    first = next((item for item in read_values(file) if isinstance(item, Value)), None)
    looks: TraceFormat | None = _format_of(first.value) if first else None
    if looks and _READERS[looks] is not _READERS[format]:
        raise InvalidInput(
            f"The log must be in the format it is read as; {str(file)!r} is read as {format} and looks like {looks}. Use {looks}."
        )


def _format_of(value: object) -> TraceFormat | None:
    if not isinstance(value, dict):
        return None
    if "dialogue_id" in value and "turns" in value:
        return "sgd"
    if "traj" in value:
        return "openai"
    return _chat_form(value["messages"]) if isinstance(value.get("messages"), list) else None


def _chat_form(messages: list[object]) -> TraceFormat:
    calls = [call for message in messages if isinstance(message, dict) for call in message.get("tool_calls") or ()]
    return "openai" if any(isinstance(call, dict) and "function" in call for call in calls) else "jsonl"
