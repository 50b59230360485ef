"""The JSON values of a log one after another, however large the file, with what cannot be read told by line."""

import codecs
import io
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import orjson

from agentgym.errors import InvalidInput
from agentgym.traces.importers.files import open_log

CHUNK_CHARACTERS = 1 << 20
# Longer than any conversation, so that a file that is no log cannot fill the memory.
MAX_VALUE_CHARACTERS = 1 << 26
_ROOM = 254 - 64
CONVERT = "Convert it: `iconv -f ENCODING -t UTF-8`."
_DATABASE = "an SQLite database"
_OTHER_FORMATS = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive",
    b"SQLite format 3": _DATABASE,
    b"%PDF": "PDF",
    b"<": "HTML or XML",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A JSON value and the line it begins on, counted from 1."""

    line: int
    value: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed:
    """What cannot be read as JSON, and why."""

    line: int
    problem: str


def read_values(path: Path) -> Iterator[Value | Malformed]:
    """The JSON values of a file in order: one on each line, or the elements of an array, or objects written over several lines.

    A malformed line costs that line; a malformed element costs the rest of its file, because nothing says where the next begins.
    """
    with open_log(path) as file:
        head = file.read(1 << 16)
    _refuse_other_formats(path, head)
    with open_log(path) as file:
        yield from _lines(file) if _is_line_delimited(head) else _elements(io.TextIOWrapper(file, "utf-8-sig"))


def binary_kind(head: bytes) -> str | None:
    """What a file is that begins like this, when it is neither JSON nor plain rows."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((name for magic, name in _OTHER_FORMATS.items() if start.startswith(magic)), None)


def refuse_utf_16(path: Path, head: bytes) -> None:
    """Whole, since many of its lines would pass for UTF-8 with zeros in between."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in head[:4]:
        raise InvalidInput(f"A log must be UTF-8; {str(path)!r} is not, it may be UTF-16. Convert it: `iconv -f UTF-16 -t UTF-8`.")


def refuse_database(path: Path, head: bytes) -> None:
    """Raises InvalidInput when a file that begins like this is a database, which is read by another file that names it."""
    if (looks := binary_kind(head)) == _DATABASE:
        raise InvalidInput(
            f"A database is read by a JSON file that names it; {str(path)!r} looks like {looks}. "
            "Write a file with its `url`, `columns`, and a `table` or `query`, and read that as sql (--format sql); see docs/06-logs.md."
        )


def _refuse_other_formats(path: Path, head: bytes) -> None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    refuse_database(path, head)
    if looks := binary_kind(head):
        raise InvalidInput(f"A log of traces is JSON; {str(path)!r} looks like {looks}. Export it as JSON lines, one conversation on each.")
    refuse_utf_16(path, head)
    header, _, rows = start.partition(b"\n")
    if b"," in header and b"{" not in header and not header.startswith(b"[") and not rows.lstrip().startswith((b"{", b"[")):
        raise InvalidInput(f"A log of traces is JSON; {str(path)!r} looks like CSV. Use csv with a mapping, or export it as JSON lines.")


def _is_line_delimited(head: bytes) -> bool:
    first, newline, rest = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    # A bracket alone opens what is written over several lines.
    if first.startswith(b"[") or first.strip() == b"{":
        return False
    if not first.startswith(b"{") or not newline:
        return True
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        # A broken first line of many, or an object over several lines? In the latter nothing else begins in the first column.
        return b"\n{" in b"\n" + rest
    return True


def _lines(file: BinaryIO) -> Iterator[Value | Malformed]:
    number = 0
    while line := file.readline(MAX_VALUE_CHARACTERS):
        number += 1
        text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if len(line) == MAX_VALUE_CHARACTERS and not line.endswith(b"\n"):
            yield Malformed(line=number, problem=f"A conversation must fit {MAX_VALUE_CHARACTERS:,} bytes; this line does not.")
            del line, text
            _skip_line(file)
            continue
        if text.strip():
            yield _parsed(text, number)


def _skip_line(file: BinaryIO) -> None:
    """What is left of a line, without holding it."""
    while (rest := file.readline(CHUNK_CHARACTERS)) and not rest.endswith(b"\n"):
        continue


def _parsed(line: bytes, number: int) -> Value | Malformed:
    try:
        return Value(line=number, value=orjson.loads(line))
    except orjson.JSONDecodeError as error:
        # orjson refuses NaN and Infinity without saying where; the slower parser reads them, so that the field can be named.
        try:
            numbers = _Numbers()
            return numbers.checked(numbers.decoder.decode(line.decode()), number)
        except UnicodeDecodeError:
            return Malformed(line=number, problem=f"A log must be UTF-8; this line is not. {CONVERT}")
        except (ValueError, RecursionError):
            return Malformed(line=number, problem=f"A line must be JSON; {error}.")


def _elements(text: TextIO) -> Iterator[Value | Malformed]:
    """The values of an array, or of objects that simply follow each other, from a window that slides over the text."""
    numbers = _Numbers()
    window, position, line = "", 0, 1
    brackets, is_empty = 0, True
    try:
        while True:
            begin = _skip_separators(window, position)
            brackets += window.count("[", position, begin)
            line, position = line + window.count("\n", position, begin), begin
            try:
                value, end = numbers.decoder.raw_decode(window, position)
            except json.JSONDecodeError as error:
                if more := _more(text, window, position, error):
                    window, position = window[position:] + more, 0
                    continue
                if position < len(window):
                    at = line + window.count("\n", position, error.pos)
                    yield Malformed(
                        line=line, problem=f"A log must be JSON; {error.msg} on line {at}. The rest of the file cannot be read."
                    )
                elif is_empty and brackets > 1:
                    yield Malformed(line=1, problem="A log must hold conversations; in this file there is nothing inside the brackets.")
                return
            is_empty = False
            yield numbers.checked(value, line)
            line, position = line + window.count("\n", position, end), end
    except UnicodeDecodeError as error:
        yield Malformed(line=line, problem=f"A log must be UTF-8; {error.reason}. The rest cannot be read. {CONVERT}")
    except RecursionError:
        yield Malformed(line=line, problem="A conversation must not nest without end; this one does. The rest of the file cannot be read.")


def _more(text: TextIO, window: str, position: int, error: json.JSONDecodeError) -> str:
    """More text when the error may come from the window ending inside a value; twice as much each time, so that work stays linear."""
    # A string cut in two is reported where it begins, everything else where the text ends.
    is_cut = error.pos >= len(window) - len("-Infinity") or error.msg.startswith("Unterminated string")
    rest = len(window) - position
    return text.read(max(CHUNK_CHARACTERS, rest)) if is_cut and rest < MAX_VALUE_CHARACTERS else ""


def _skip_separators(window: str, position: int) -> int:
    while position < len(window) and window[position] in " \t\r\n,[]":
        position += 1
    return position


class _Numbers:
    """A decoder that notices numbers no JSON can hold, which Python's parser lets through."""

    def __init__(self) -> None:
        self.decoder = json.JSONDecoder(parse_constant=self._noticed, parse_float=self._noticed)
        self.has_non_finite = False

    def _noticed(self, text: str) -> float:
        number = float(text)
        self.has_non_finite |= not math.isfinite(number)
        return number

    def checked(self, value: Any, line: int) -> Value | Malformed:
        """The value, when it can be written again: Python's parser also lets through numbers, texts and depths that others refuse.

        A number of the conversation's own that is not finite is left to validation, which knows what it means.
        """
        try:
            written(value)
        except TypeError as error:
            return Malformed(line=line, problem=f"A conversation must be JSON that every parser reads; {error}.")
        if not self.has_non_finite:
            return Value(line=line, value=value)
        self.has_non_finite = False
        nested = value.items() if isinstance(value, dict) else ()
        path = next((found for key, item in nested if not isinstance(item, float) for found in _non_finite(item, key)), None)
        return Malformed(line=line, problem=f"Numbers must be finite; {path} is not.") if path else Value(line=line, value=value)


class _Room(threading.local):
    """Lists inside each other, one for each thread, that leave a value so much less depth than writers have."""

    def __init__(self) -> None:
        self.innermost: list[Any] = [None]
        self.whole = self.innermost
        for _ in range(_ROOM - 1):
            self.whole = [self.whole]


_room = _Room()


def written(value: Any) -> int:
    """How many bytes the value has as JSON. Raises TypeError for what is none, or nests deeper than 64 levels.

    Writers end at 254 levels, other readers at 200, checkers of schemas far before: what only just passes here would break behind.
    """
    _room.innermost[0] = value
    try:
        return len(orjson.dumps(_room.whole, default=str)) - 2 * _ROOM
    finally:
        _room.innermost[0] = None


def _non_finite(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, float) and not math.isfinite(value):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _non_finite(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _non_finite(item, f"{path}.{index}")
