"""What a JSON value is, and what can be said of it in words that other values share."""

import math
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from pydantic import JsonValue

from agentgym.policies.planner.normalisers import DATE, EMAIL, IDENTIFIER, NUMBER, TEXT, TIME, found_values
from agentgym.policies.planner.slots import STRUCTURE, plain_value, same_value
from agentgym.policies.planner.words import words_of

_ROWS_READ, _DEPTH_READ, _VALUES_TOLD = 5, 4, 24
_STEPS = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)


class Leaf(NamedTuple):
    """A value inside a result: the name nearest to it, and the number of the row it is in."""

    name: str
    value: JsonValue
    row: int


def value_kind(value: JsonValue) -> str:
    """Which kind of candidate a JSON value is."""
    if isinstance(value, (dict, list)):
        return STRUCTURE
    if not isinstance(value, str):
        return NUMBER
    return _text_kind(value)


@lru_cache(maxsize=65536)
def _text_kind(text: str) -> str:
    if len(text) > 60:
        return TEXT
    whole = (found.kind for found in found_values(text, date(2000, 1, 1)) if found.end - found.start == len(text))
    kind = next(whole, TEXT)
    return kind if kind in (EMAIL, IDENTIFIER, NUMBER) or (text[:1].isdigit() and kind in (DATE, TIME)) else TEXT


def leaves(content: JsonValue, name: str = "", row: int = 0, depth: int = 0) -> Iterator[Leaf]:
    """Every value of a result under the name nearest to it, with the number of its row; structures also as a whole."""
    if isinstance(content, dict):
        if depth:
            yield Leaf(name, content, row)
        for key, value in content.items() if depth < _DEPTH_READ else ():
            yield from leaves(value, key, row, depth + 1)
    elif isinstance(content, list):
        if name and content:
            yield Leaf(name, content, row)
        for number, value in enumerate(content[:_ROWS_READ]) if depth < _DEPTH_READ else ():
            yield from leaves(value, name, number if depth == 0 else row, depth + 1)
    elif content is not None and content != "":
        yield Leaf(name, content, row)


def result_words(content: JsonValue) -> Iterator[str]:
    """What a result says, as `key=value` words: numbers on a round scale, short texts as they are; of plain words and errors each word."""
    if isinstance(content, list):
        yield from (f"rows>={number:g}" for number in round_numbers(float(len(content))) if number >= 1 or not content)
        content = content[:1]
    if isinstance(content, str):
        content = {"error" if content.startswith("Error") else "says": content}
    values = [(name, value) for name, value, _ in leaves(content) if not isinstance(value, (dict, list))]
    for name, value in values[:_VALUES_TOLD]:
        yield from (f"{name}{word}" for word in value_words(value))
        if name in ("error", "says"):
            yield from (f"{name}:{word}" for word in words_of(plain_value(value))[:_VALUES_TOLD])


def value_words(value: JsonValue) -> list[str]:
    """What can be said of a value that other values share: a short text, or the round numbers a number reaches."""
    if isinstance(value, bool):
        return [f"={str(value).lower()}"]
    kind, text = value_kind(value), plain_value(value)
    if kind == NUMBER:
        return [f">={number:g}" for number in round_numbers(float(same_value(text)))]
    return [f"={text.lower()}" if kind == TEXT and len(text) <= 24 and text.count(" ") <= 2 else "=…"]


def round_numbers(number: float) -> list[float]:
    """The round numbers a number reaches, so that usual limits are visible: 1, 1.5, 2, 2.5, 3, 4 … 9 of its own power of ten and the
    one below, and lower powers of ten down to 1; 0 where it reaches none.
    """
    size, sign = abs(number), -1 if number < 0 else 1
    if size == 0:
        return [0.0]
    power = math.floor(math.log10(size) + 1e-9)
    reached = [step * 10.0**exponent for exponent in (power, power - 1) for step in _STEPS if step * 10.0**exponent <= size * (1 + 1e-9)]
    return [sign * value for value in (*reached, *(10.0**exponent for exponent in range(power - 2, -1, -1)))]
