"""What the texts and numbers at one place of a tool's arguments have in common: a format, the pattern of an identifier, a range."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime

from pydantic import JsonValue

# A format only annotates: nothing is refused for it. Few values are enough, if all have it.
FORMAT_AFTER_VALUES = 3
# A pattern refuses what does not fit. If one in a hundred legal values did not, thirty would still all fit in 74 % of the logs; so it is
# learnt only for what looks made by a machine, and never more exact than letters, digits and their number.
PATTERN_AFTER_VALUES = 30
PATTERN_DISTINCT_VALUES = 10
RANGE_AFTER_VALUES = 10

_RUN = re.compile(r"[0-9]+|[A-Z]+|[a-z]+|[^0-9A-Za-z]")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)*")
_CODE = re.compile(r"[A-Z0-9]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://\S+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def _is_date(text: str) -> bool:
    return bool(_DATE.fullmatch(text)) and _parses(date.fromisoformat, text)


def _is_date_time(text: str) -> bool:
    return len(text) > 10 and bool(_DATE.match(text)) and text[10] in "T " and _parses(datetime.fromisoformat, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


_FORMATS: dict[str, Callable[[str], object]] = {
    "date": _is_date,
    "time": _TIME.fullmatch,
    "date-time": _is_date_time,
    "email": _EMAIL.fullmatch,
    "uri": _URI.fullmatch,
    "uuid": _UUID.fullmatch,
}


@dataclass(slots=True)
class TextShape:
    """Formats and runs of characters that all texts so far have in common.

    runs: for each run the class of its characters, its text while that is the same in all, and its length while that is; None once the
    texts differ in their runs.   code_length: of texts of capitals and digits only, while all are equally long.
    """

    values: int = 0
    distinct: set[str] = field(default_factory=set)
    formats: tuple[str, ...] = tuple(_FORMATS)
    runs: "tuple[_Run, ...] | None" = None
    code_length: int | None = None

    def observe(self, text: str) -> None:
        self.values += 1
        if self.formats:
            self.formats = tuple(name for name in self.formats if _FORMATS[name](text))
        if len(self.distinct) < PATTERN_DISTINCT_VALUES:
            self.distinct.add(text)
        is_first = self.values == 1
        if is_first or self.runs is not None:
            seen = tuple(_Run.of(run) for run in _RUN.findall(text)) if text and not _NUMBER.fullmatch(text) else None
            self.runs = seen if is_first or seen is None else _merged(self.runs or (), seen)
        length = len(text) if _CODE.fullmatch(text) else None
        if is_first or length != self.code_length:
            self.code_length = length if is_first else None

    def schema(self) -> dict[str, JsonValue]:
        """`format` or `pattern`, or neither."""
        if self.formats and self.values >= FORMAT_AFTER_VALUES:
            return {"format": self.formats[0]}
        if self.values < PATTERN_AFTER_VALUES or len(self.distinct) < PATTERN_DISTINCT_VALUES:
            return {}
        if self.runs is not None and self._looks_made(self.runs):
            return {"pattern": f"^{''.join(run.pattern for run in self.runs)}$"}
        if self.code_length and any(not text.isdigit() for text in self.distinct) and any(not text.isalpha() for text in self.distinct):
            return {"pattern": f"^[A-Z0-9]{{{self.code_length}}}$"}
        return {}

    @staticmethod
    def _looks_made(runs: "tuple[_Run, ...]") -> bool:
        """Whether this is the form of an identifier: letters and digits that vary, and no space."""
        classes = {run.characters for run in runs}
        return "[0-9]" in classes and bool(classes & {"[A-Z]", "[a-z]"}) and not any(run.text and run.text.isspace() for run in runs)


@dataclass(frozen=True, slots=True)
class _Run:
    characters: str
    text: str | None
    length: int | None

    @classmethod
    def of(cls, text: str) -> "_Run":
        first = text[0]
        characters = "[0-9]" if first in "0123456789" else "[A-Z]" if "A" <= first <= "Z" else "[a-z]" if "a" <= first <= "z" else first
        return cls(characters, text, len(text))

    @property
    def pattern(self) -> str:
        # Digits that were the same so far, such as a year, will not be for ever.
        if self.text is not None and self.characters != "[0-9]":
            return re.escape(self.text)
        # Words have any length; a number of a fixed length is a counter that may be padded, and stays so.
        return self.characters + (f"{{{self.length}}}" if self.length and self.characters == "[0-9]" else "+")


def _merged(known: tuple[_Run, ...], seen: tuple[_Run, ...]) -> tuple[_Run, ...] | None:
    if [run.characters for run in known] != [run.characters for run in seen]:
        return None
    pairs = zip(known, seen, strict=True)
    return tuple(
        _Run(old.characters, old.text if old.text == new.text else None, old.length if old.length == new.length else None)
        for old, new in pairs
    )


@dataclass(slots=True)
class NumberShape:
    """The smallest and the largest number so far."""

    values: int = 0
    smallest: float = 0
    largest: float = 0

    def observe(self, number: float) -> None:
        self.smallest = min(self.smallest, number) if self.values else number
        self.largest = max(self.largest, number) if self.values else number
        self.values += 1

    def schema(self) -> dict[str, JsonValue]:
        """The range as `examples`, which document and refuse nothing: the next order may be the largest so far, and is legal."""
        if self.values < RANGE_AFTER_VALUES:
            return {}
        return {"examples": list(dict.fromkeys((self.smallest, self.largest)))}
