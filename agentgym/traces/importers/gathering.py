"""Conversations whose parts are scattered over a log: gathered on disk, so that memory holds one conversation at a time."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import orjson

from agentgym.errors import InvalidInput, Unavailable
from agentgym.traces.importers.json_values import MAX_VALUE_CHARACTERS
from agentgym.traces.importers.reading import Place
from agentgym.traces.importers.record import RejectedLine
from agentgym.traces.importers.shapes import NotAConversation

Made = TypeVar("Made")
# Enough that the index of a hundred thousand conversations is looked up in memory.
_CACHE_KIBIBYTES = 16_384


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """JSON of a log that can only be understood together with all other parts of its key."""

    key: str
    place: Place
    value: Any


def gathered(parts: Iterable[Part | RejectedLine], convert: Callable[[list[Part]], Iterable[Made]]) -> Iterator[Made | RejectedLine]:
    """What `convert` makes of all parts of a key, in the order of the log; keys in the order of their first part.

    What was rejected before comes first. A key for which NotAConversation or InvalidInput is raised becomes one RejectedLine, where its
    first part is. Raises Unavailable when the temporary files have no room.
    """
    with with_room(), closing(temporary_database()) as database:
        yield from _stored(parts, database)
        for group in _groups(database):
            if isinstance(group, RejectedLine):
                yield group
            else:
                yield from _converted(group, convert)


def _stored(parts: Iterable[Part | RejectedLine], database: sqlite3.Connection) -> Iterator[RejectedLine]:
    database.execute("CREATE TABLE part (number INTEGER PRIMARY KEY, key TEXT, source TEXT, line INTEGER, nth INTEGER, value BLOB)")
    for part in parts:
        if isinstance(part, RejectedLine):
            yield part
            continue
        try:
            value = orjson.dumps(part.value)
        except TypeError as error:
            yield part.place.rejected(f"A conversation must be JSON that every parser reads; {error}.")
            continue
        row = (part.key, part.place.source, part.place.line, part.place.number, value)
        database.execute("INSERT INTO part (key, source, line, nth, value) VALUES (?, ?, ?, ?, ?)", row)
    database.execute("CREATE INDEX part_by_key ON part (key)")


def _groups(database: sqlite3.Connection) -> Iterator[list[Part] | RejectedLine]:
    ordered = database.execute(
        "SELECT part.key, source, line, nth, value FROM part JOIN (SELECT key, MIN(number) AS first FROM part GROUP BY key) USING (key) "
        "ORDER BY first, number"
    )
    for key, rows in groupby(ordered, key=lambda row: row[0]):
        size, parts = 0, list[Part]()
        for _, source, line, nth, value in rows:
            size += len(value)
            if size <= MAX_VALUE_CHARACTERS or not parts:
                parts.append(Part(key=key, place=Place(source=source, line=line, number=nth), value=orjson.loads(value)))
        if size <= MAX_VALUE_CHARACTERS:
            yield parts
        else:
            yield parts[0].place.rejected(
                f"A conversation must fit {MAX_VALUE_CHARACTERS:,} bytes; its {len(parts)} parts or more do not.", key
            )


def _converted(group: list[Part], convert: Callable[[list[Part]], Iterable[Made]]) -> Iterator[Made | RejectedLine]:
    try:
        yield from convert(group)
    except (NotAConversation, InvalidInput) as error:
        yield group[0].place.rejected(str(error), group[0].key)


def temporary_database() -> sqlite3.Connection:
    """A database in a temporary file that is gone when it is closed, and of which memory holds little."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
        database.execute(f"PRAGMA {pragma}")
    # Nobody else reads it, and nothing of it outlives us: one transaction for all.
    database.execute("BEGIN")
    return database


@contextmanager
def with_room() -> Iterator[None]:
    """Tells what a temporary database says as Unavailable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(
            f"A log is gathered in temporary files where memory would not do; {error}. Make room, or set TMPDIR to where there is some."
        ) from error
