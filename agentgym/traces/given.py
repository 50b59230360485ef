"""Traces however somebody has them at hand: a log of any format, or conversations in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydantic import JsonValue

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.traces.importers import BUILT_IN_FORMATS, RejectedLine, log_path
from agentgym.traces.importers.chat import read_conversation
from agentgym.traces.importers.csv_rows import CSV_SUFFIXES
from agentgym.traces.importers.files import JSON_SUFFIXES, log_files
from agentgym.traces.importers.json_values import Value, read_values
from agentgym.traces.trace import Trace

GivenTraces: TypeAlias = str | Path | Iterable[Trace | Mapping[str, JsonValue]]
_QUOTED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """rejected: how many conversations of a log could not be used."""

    traces: tuple[Trace, ...]
    rejected: int = 0


def read_given(traces: GivenTraces, *, format: str | None = None, mapping: Path | None = None) -> Given:
    """The traces.   format: of a file; None to tell it by its looks.

    A log is validated as ever: raises InvalidInput when it cannot be read or too much of it cannot be used. Of conversations in memory
    every one must be usable.
    """
    if isinstance(traces, str | Path):
        return _read_log(log_path(traces), format, mapping)
    if isinstance(traces, Mapping | bytes) or not isinstance(traces, Iterable):
        raise InvalidInput(f"Traces are a path or a list of conversations; got {type(traces).__name__}. Put a conversation into a list.")
    given = tuple(_read_each(traces))
    if not given:
        raise InsufficientData("An environment is made of at least one conversation; got none. Give some.")
    return Given(traces=given)


def looks_of(path: Path) -> str:
    """The name of the format that the first value of a log looks like. Raises InvalidInput when it looks like none."""
    suffixes = dict.fromkeys((*JSON_SUFFIXES, *CSV_SUFFIXES))
    first_file = log_files(path, tuple(suffixes))[0]
    if first_file.name.endswith(CSV_SUFFIXES):
        return "csv"
    first = next((item for item in read_values(first_file) if isinstance(item, Value)), None)
    if first is None:
        raise InvalidInput(
            f"A log needs at least one conversation; in {str(first_file)!r} there is no JSON that holds one. Check the export."
        )
    found = next((name for name, each in BUILT_IN_FORMATS.items() if each.looks_like(first.value)), None)
    if found is None:
        raise InvalidInput(
            f"A log is in a format that is known; {str(path)!r} looks like none of {', '.join(BUILT_IN_FORMATS)}. "
            "Give its format (--format)."
        )
    return found


def _read_log(path: Path, format: str | None, mapping: Path | None) -> Given:
    # Imports Great Expectations, which only a log of files pays for.
    from agentgym.traces.validation import load_validated

    validated = load_validated(path, format or looks_of(path), mapping=mapping)
    return Given(traces=validated.traces, rejected=validated.report.quarantined)


def _read_each(traces: Iterable[Trace | Mapping[str, JsonValue]]) -> Iterator[Trace]:
    for number, given in enumerate(traces, start=1):
        if isinstance(given, Trace):
            yield given
            continue
        record = read_conversation(given, source="conversation", line=number)
        trace = record if isinstance(record, RejectedLine) else record.to_trace()
        if isinstance(trace, RejectedLine):
            reasons = " ".join(trace.reasons[:_QUOTED])
            raise InvalidInput(f"A conversation is a Trace or an object with messages; number {number} is none: {reasons} Mend it.")
        yield trace
