"""The formats a log can be in, and the one seam through which all of them are read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue

from agentgym.errors import InvalidInput
from agentgym.traces.importers.chat import read_chat
from agentgym.traces.importers.csv_rows import CSV_SUFFIXES, read_csv
from agentgym.traces.importers.files import JSON_SUFFIXES, SourceFile, begins_as_json, file_bytes, log_files, source_file
from agentgym.traces.importers.json_values import Value, read_values, written
from agentgym.traces.importers.langfuse import looks_like_langfuse, read_langfuse
from agentgym.traces.importers.mapping_file import require_mapping_file
from agentgym.traces.importers.mlflow_traces import looks_like_mlflow, read_mlflow
from agentgym.traces.importers.openai_batch import looks_like_openai_batch, read_openai_batch
from agentgym.traces.importers.openai_responses import looks_like_openai_responses, read_openai_responses
from agentgym.traces.importers.otlp import looks_like_otlp, read_otlp
from agentgym.traces.importers.reading import Log
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.s3_path import log_path
from agentgym.traces.importers.sgd import read_sgd
from agentgym.traces.importers.sharegpt import has_marked_calls, looks_like_sharegpt, read_sharegpt
from agentgym.traces.importers.sql import fingerprint_sql, looks_like_sql, read_sql
from agentgym.traces.trace import Trace

ENTRY_POINT_GROUP = "agentgym.importers"
Reader = Callable[[Log], Iterator[Record | RejectedLine]]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFormat:
    """A form that logs are in.

    holds: what such a file is, for people.   read: every conversation of a log, as a Record or with the reason why not.
    looks_like: whether a JSON value, the first of a file, is of this format.   suffixes: of its files in a folder.
    fingerprint: of a file, given the imported path; by default of its bytes.   takes_mapping: whether `read` asks for the log's mapping.
    """

    name: str
    holds: str
    read: Reader
    looks_like: Callable[[Any], bool]
    suffixes: tuple[str, ...] = JSON_SUFFIXES
    fingerprint: Callable[[Path, Path], SourceFile] = source_file
    takes_mapping: bool = False


def file_by_file(read: Callable[[Path, Path], Iterator[Record | RejectedLine]]) -> Reader:
    """A reader of logs from one of single files, for formats whose conversations never span files; it gets the imported path too."""

    def read_log(log: Log) -> Iterator[Record | RejectedLine]:
        for file in log.files:
            yield from read(file, log.root)

    return read_log


def _looks_like_chat(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("messages"), list) and not has_marked_calls(value["messages"])


def _looks_like_openai(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    messages = value.get("messages")
    calls = [
        call
        for message in (messages if isinstance(messages, list) else ())
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list)
        for call in message["tool_calls"]
    ]
    return "traj" in value or any(isinstance(call, dict) and "function" in call for call in calls)


def _looks_like_sgd(value: Any) -> bool:
    return isinstance(value, dict) and "dialogue_id" in value and "turns" in value


_read_chat = file_by_file(read_chat)

# Where several look alike, the one that a person would more likely mean comes first.
_BUILT_IN = (
    LogFormat(
        name="openai_batch",
        holds="requests and answers of OpenAI's Batch API, or stored chat completions",
        read=read_openai_batch,
        looks_like=looks_like_openai_batch,
    ),
    LogFormat(
        name="openai_responses",
        holds="requests and answers of OpenAI's Responses API",
        read=read_openai_responses,
        looks_like=looks_like_openai_responses,
    ),
    LogFormat(name="openai", holds="messages of OpenAI's chat form", read=_read_chat, looks_like=_looks_like_openai),
    LogFormat(name="jsonl", holds="conversations with messages, AgentGym's form or OpenAI's", read=_read_chat, looks_like=_looks_like_chat),
    LogFormat(name="json", holds="the same in one JSON array", read=_read_chat, looks_like=_looks_like_chat),
    LogFormat(
        name="sharegpt",
        holds="turns with from and value, or calls marked inside the text",
        read=read_sharegpt,
        looks_like=looks_like_sharegpt,
    ),
    LogFormat(
        name="langfuse", holds="traces exported from Langfuse, with observations", read=read_langfuse, looks_like=looks_like_langfuse
    ),
    LogFormat(name="mlflow", holds="traces exported from MLflow", read=read_mlflow, looks_like=looks_like_mlflow),
    LogFormat(name="otlp", holds="OpenTelemetry's GenAI spans in OTLP's JSON", read=read_otlp, looks_like=looks_like_otlp),
    LogFormat(
        name="csv",
        holds="one message a row, with --mapping",
        read=read_csv,
        looks_like=lambda value: False,
        suffixes=CSV_SUFFIXES,
        takes_mapping=True,
    ),
    LogFormat(
        name="sql",
        holds="a database's url, a table or query, and what its columns mean",
        read=file_by_file(read_sql),
        looks_like=looks_like_sql,
        fingerprint=fingerprint_sql,
    ),
    LogFormat(name="sgd", holds="Schema-Guided Dialogue", read=file_by_file(read_sgd), looks_like=_looks_like_sgd),
)
BUILT_IN_FORMATS = {format.name: format for format in _BUILT_IN}


def format_names() -> tuple[str, ...]:
    """Every name, the built-in ones first; nothing is loaded for it."""
    return (*BUILT_IN_FORMATS, *sorted(entry.name for entry in _installed() if entry.name not in BUILT_IN_FORMATS))


def find_format(name: str) -> LogFormat:
    """The format of this name, built in or of an installed package.

    Packages offer theirs as an entry point in the group `agentgym.importers`: a name, and a LogFormat.
    Raises InvalidInput, which names near matches.
    """
    if name in BUILT_IN_FORMATS:
        return BUILT_IN_FORMATS[name]
    entry = next((entry for entry in _installed() if entry.name == name), None)
    if entry is None:
        names = format_names()
        near = get_close_matches(name, names, n=3)
        repair = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Choose the one the log is in."
        if name.lower().replace("-", "_") == "tau_bench":
            repair = "Runs of tau-bench are read by 'openai'."
        raise InvalidInput(f"A format is one of {', '.join(names)}; got {name!r}. {repair}")
    return _offered(entry)


def known_format(name: str) -> str:
    """The name itself. Raises InvalidInput when no format has it."""
    if name not in format_names():
        find_format(name)
    return name


class _ChoiceOfFormats:
    """Lets a form that is made from a schema offer the formats there are."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "enum": list(format_names())}


TraceFormat = Annotated[str, AfterValidator(known_format), _ChoiceOfFormats()]


def import_traces(path: Path, format: TraceFormat, *, mapping: Path | None = None) -> Iterator[Trace | RejectedLine]:
    """The conversations of a file, or of a folder's files by name; plain or compressed.

    Each field has its type and range; what the messages say to each other is checked by `load_validated`.
    Raises InvalidInput when the path is missing or unreadable, or holds another format.
    """
    for record in read_records(path, format, mapping=mapping):
        yield record.to_trace() if isinstance(record, Record) else record


def read_records(path: Path, format: TraceFormat, *, mapping: Path | None = None) -> Iterator[Record | RejectedLine]:
    """The conversations as they were logged, in the trace's field names, before any check. mapping: what the columns of rows mean."""
    asked, root = find_format(format), log_path(path)
    mapping, files = _mapping_for(asked, mapping), log_files(root, asked.suffixes)
    _refuse_wrong_format(files[0], asked)
    yield from map(_writable, asked.read(Log(files=files, root=root, mapping=mapping)))


def log_bytes(path: Path, format: TraceFormat) -> int | None:
    """How many bytes the files of a log have; None where they are not what is read, as with a database."""
    asked, root = find_format(format), log_path(path)
    return sum(map(file_bytes, log_files(root, asked.suffixes))) if asked.fingerprint is source_file else None


def source_files(path: Path, format: TraceFormat, *, mapping: Path | None = None) -> tuple[SourceFile, ...]:
    """Every file that traces came from with its digest, the mapping too. Raises InvalidInput when one is missing or cannot be read."""
    asked, root = find_format(format), log_path(path)
    mapping = _mapping_for(asked, mapping)
    files = tuple(asked.fingerprint(file, root) for file in log_files(root, asked.suffixes))
    return files if mapping is None else (*files, source_file(mapping, mapping))


def _mapping_for(asked: LogFormat, mapping: Path | None) -> Path | None:
    """The mapping. Raises InvalidInput when the format takes none, or no file is there."""
    if mapping is None:
        return None
    if asked.name == "sql":
        raise InvalidInput(
            "For sql the log itself is the mapping, a JSON file with `url`, `columns`, and a `table` or `query`; another one was given. "
            "Write its columns into the log's file, and leave the mapping (--mapping) out."
        )
    if not asked.takes_mapping:
        taking = ", ".join(format.name for format in _BUILT_IN if format.takes_mapping)
        raise InvalidInput(
            f"A mapping says what the columns of rows mean, which only {taking} asks for; the log is read as {asked.name}. "
            "Leave the mapping (--mapping) out, or give the format that the log is in (--format)."
        )
    return require_mapping_file(log_path(mapping))


def _refuse_wrong_format(file: Path, asked: LogFormat) -> None:
    """Raises InvalidInput when the first value is of another built-in format, and not of the one that was asked for."""
    if asked.suffixes != JSON_SUFFIXES and not begins_as_json(file):
        return
    first = next((item for item in read_values(file) if isinstance(item, Value)), None)
    same = [format for format in _BUILT_IN if format.read is asked.read] or [asked]
    if first is None or any(format.looks_like(first.value) for format in (asked, *same)):
        return
    if looks := next((format.name for format in _BUILT_IN if format.looks_like(first.value)), None):
        raise InvalidInput(
            f"The log must be in the format it is read as; {str(file)!r} is read as {asked.name} and looks like {looks}. Use {looks}."
        )


def _writable(record: Record | RejectedLine) -> Record | RejectedLine:
    """The record, when it can be written again. Parsers read deeper nesting than writers write, and arguments are parsed inside."""
    if isinstance(record, RejectedLine):
        return record
    try:
        return replace(record, json_bytes=written(record.fields))
    except TypeError as error:
        return record.rejected(f"A conversation must be JSON that every parser reads; {error}.")


def _installed() -> Iterable[EntryPoint]:
    return entry_points(group=ENTRY_POINT_GROUP)


def _offered(entry: EntryPoint) -> LogFormat:
    try:
        format = entry.load()
    except (ImportError, AttributeError) as error:
        raise InvalidInput(
            f"An entry point in {ENTRY_POINT_GROUP!r} must lead to a format; {entry.name!r} = {entry.value!r} gave {error!r}. "
            "Mend or uninstall the package that offers it."
        ) from error
    if not isinstance(format, LogFormat):
        raise InvalidInput(
            f"An entry point in {ENTRY_POINT_GROUP!r} must be a LogFormat; {entry.name!r} is {type(format).__name__}. "
            "Point it to a value made with LogFormat(…)."
        )
    return format
