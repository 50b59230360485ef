"""How alike two results of a tool are."""

from collections import Counter
from collections.abc import Iterator

from pydantic import JsonValue

from agentgym.messages import Message
from agentgym.traces.matching import canonical

# A place in a result, such as `.rows[].price`, and the value there as `canonical` writes it.
Field = tuple[str, str]


def fields(value: JsonValue) -> Iterator[Field]:
    """Every value inside, with its place; places in lists are not numbered, so that rows in another order hold the same fields."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _inside(f".{name}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _inside("[]", item)
    else:
        yield "", canonical(value)


def is_same(recorded: JsonValue, given: JsonValue) -> bool:
    """Whether both are the same, however numbers, case and spaces are written."""
    return canonical(recorded) == canonical(given)


def field_match(recorded: JsonValue, given: JsonValue) -> float:
    """The share of the fields of both that they have in common (Dice 1945), 0–1; 1 where neither has any."""
    left, right = Counter(fields(recorded)), Counter(fields(given))
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def is_error(result: JsonValue) -> bool:
    """Whether a result says that the call failed; equal to what `Message.is_error` says of it."""
    return Message(role="tool", result=result).is_error


def _inside(place: str, value: JsonValue) -> Iterator[Field]:
    for inner, text in fields(value):
        yield place + inner, text
