"""The one way the values of log files become what an importer makes of them: what cannot be read is told by place and reason."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from agentgym.errors import InvalidInput
from agentgym.tools import Tool
from agentgym.traces.importers.files import file_name
from agentgym.traces.importers.json_values import Malformed, read_values
from agentgym.traces.importers.record import Record, RejectedLine
from agentgym.traces.importers.shapes import NotAConversation
from agentgym.traces.importers.turns import Turn, paired

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True, slots=True)
class Log:
    """What is imported: its files, the path they were found under, and for rows of a table the file that says what its columns mean."""

    files: Sequence[Path]
    root: Path
    mapping: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where something begins: a file's name relative to what is imported, a line counted from 1, and which of several on that line."""

    source: str
    line: int
    number: int = 1

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" + (f".{self.number}" if self.number > 1 else "")

    def record(self, turns: list[Turn], *, conversation_id: str | None, tools: tuple[Tool, ...] = (), **fields: Any) -> Record:
        """The conversation of these messages; it is named after its place when the log does not name it. fields: None for the unknown."""
        known = {name: value for name, value in fields.items() if value is not None}
        named = {"conversation_id": conversation_id or str(self), "messages": paired(turns), **known}
        return Record(source=self.source, line=self.line, fields=named, tools=tools)

    def rejected(self, reason: str, conversation_id: str | None = None) -> RejectedLine:
        return RejectedLine(source=self.source, line=self.line, conversation_id=conversation_id, reasons=(reason,))


def read_each(log: Log, convert: Callable[[Any, Place], Iterable[Read]]) -> Iterator[Read | RejectedLine]:
    """What `convert` makes of each JSON value of the files.

    A value that is malformed, or for which NotAConversation or InvalidInput is raised, becomes one RejectedLine.
    """
    for file in log.files:
        name, place = file_name(file, log.root), None
        for item in read_values(file):
            number = place.number + 1 if place and place.line == item.line else 1
            place = Place(source=name, line=item.line, number=number)
            if isinstance(item, Malformed):
                yield place.rejected(item.problem)
            else:
                yield from _converted(item.value, place, convert)


def _converted(value: Any, place: Place, convert: Callable[[Any, Place], Iterable[Read]]) -> Iterator[Read | RejectedLine]:
    try:
        yield from convert(value, place)
    except (NotAConversation, InvalidInput) as error:
        yield place.rejected(str(error), _known_id(value))


def _known_id(value: Any) -> str | None:
    """What the conversation is called, as far as a glance can tell."""
    names = (value.get(key) for key in ("conversation_id", "custom_id", "id")) if isinstance(value, dict) else ()
    return next((name for name in names if isinstance(name, str)), None)
