"""The rows that recorded results hold: what the tools told about things, as a partial table of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical

# Rows deeper inside a result are parts of a thing (an address, a fare), not things that a call asks for.
DEEPEST_ROW = 3
# One result lists things, it does not dump a database; more than these would make every answer slow.
ROWS_OF_A_RESULT = 100
# A search is answered from this many rows at most.
SEARCHED_ROWS = 2_000
# A value that more rows share than this tells little about which of them is meant.
SHARED_BY_ROWS = 50


@dataclass(frozen=True, slots=True)
class Row:
    """An object in a result.   tool: which told it.   texts: its fields in canonical form, and what was asked for where they do not say."""

    tool: str
    fields: Mapping[str, JsonValue]
    texts: Mapping[str, str]

    def agreeing(self, asked: Mapping[str, str]) -> list[str]:
        """Names of the asked fields that this row has with the asked value."""
        texts = self.texts
        return [name for name, text in asked.items() if texts.get(name) == text]


def rows_in(result: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """Objects of more than one field, outer ones first, at most ROWS_OF_A_RESULT."""
    level: list[JsonValue] = [result]
    count = 0
    for _ in range(DEEPEST_ROW):
        deeper: list[JsonValue] = []
        for value in level:
            if isinstance(value, dict):
                if len(value) > 1:
                    count += 1
                    if count > ROWS_OF_A_RESULT:
                        return
                    yield value
                deeper += (item for item in value.values() if isinstance(item, dict | list))
            elif isinstance(value, list):
                # A list is no level of its own: its items stand where it stands.
                deeper += (item for item in value if isinstance(item, dict | list))
        level = deeper


def read_rows(tool: str, result: JsonValue, asked: Mapping[str, str]) -> list[Row]:
    """asked: fields that the call asked for; they hold for the outermost rows, which are what it asked for."""
    outermost = [id(row) for row in (result if isinstance(result, list) else [result])]
    return [
        Row(tool, fields, {**(asked if id(fields) in outermost else {}), **{name: canonical(value) for name, value in fields.items()}})
        for fields in rows_in(result)
    ]


@dataclass(frozen=True, slots=True)
class Told:
    """A result and its rows, none where the tool refused.   asked: the fields that its call asked for, in canonical form."""

    call: ToolCall
    asked: Mapping[str, str]
    result: JsonValue
    rows: Sequence[Row]
    is_refusal: bool


class RowTable:
    """Every distinct row of a set of recordings, found by the values it holds."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._places: dict[tuple[str, str], int] = {}
        # Recordings that told a row, at most two: enough to know whether another one than a given one did.
        self._told_by: list[tuple[int, ...]] = []
        self._holding: dict[tuple[str, str], list[int]] = {}

    def add(self, row: Row, *, recording: int) -> None:
        place = self._places.setdefault((row.tool, "\x1f".join(f"{name}\x1e{text}" for name, text in row.texts.items())), len(self.rows))
        if place < len(self.rows):
            told_by = self._told_by[place]
            if len(told_by) < 2 and recording not in told_by:
                self._told_by[place] = (*told_by, recording)
            return
        self.rows.append(row)
        self._told_by.append((recording,))
        for pair in row.texts.items():
            self._holding.setdefault(pair, []).append(place)

    def candidates(self, asked: Mapping[str, str], *, apart_from: int | None = None) -> list[Row]:
        """Rows that hold a telling value among those asked, oldest first.   apart_from: a recording whose word does not count."""
        holding = [places for pair in asked.items() if (places := self._holding.get(pair))]
        telling = [places for places in holding if len(places) <= SHARED_BY_ROWS] or [min(holding, key=len, default=[])[:SHARED_BY_ROWS]]
        places = sorted({place for each in telling for place in each})
        return [self.rows[place] for place in places if apart_from is None or self._told_by[place] != (apart_from,)]

    def agreeing(self, tool: str, asked: Mapping[str, str], *, apart_from: int | None = None) -> list[Row]:
        """Rows of this tool that have all that is asked, oldest first."""
        holding = [self._holding.get(pair, ()) for pair in asked.items()]
        places = min(holding, key=len, default=())[:SEARCHED_ROWS]
        found = (place for place in places if apart_from is None or self._told_by[place] != (apart_from,))
        rows = (self.rows[place] for place in found)
        return [row for row in rows if row.tool == tool and all(row.texts.get(name) == text for name, text in asked.items())]


def best_row(candidates: Sequence[Row] | Iterable[Row], asked: Mapping[str, str]) -> tuple[Row, frozenset[str]] | None:
    """The row that agrees in most of what is asked, the first of equals, with the names it agrees in; None when none agrees in any."""
    best: Row | None = None
    names: list[str] = []
    for row in candidates:
        agreeing = row.agreeing(asked)
        if len(agreeing) > len(names):
            best, names = row, agreeing
    return (best, frozenset(names)) if best is not None else None
