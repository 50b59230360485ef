"""Where each value of each recorded call can be known from: what was said, offered, found or read before the call."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Literal

import orjson
from pydantic import JsonValue

from agentgym.messages import Message, ToolCall
from agentgym.policies.planner.mentions import ALIASES
from agentgym.policies.planner.normalisers import found_values
from agentgym.traces.trace import Trace

Origin = Literal["said", "offered", "found", "read"]
Path = tuple[str | int, ...]
Sources = dict[Path, frozenset[Origin]]
_GAP = re.compile(r"[^\w@]+")
_ORIGINS: dict[str, Origin] = {"user": "said", "assistant": "offered", "tool": "found", "system": "offered"}
_UNKNOWN_DAY = datetime(2000, 1, 1, tzinfo=UTC)


def value_sources(trace: Trace) -> list[tuple[ToolCall, Sources]]:
    """Every call in its order, with the origins of each of its values; empty where nothing before the call holds it.

    said, offered, found: the customer's words, the agent's, or a result hold it word for word.   read: the customer's words mean it, as
    "next Friday" means a date and "SF" a city.
    """
    today = (trace.started_at or _UNKNOWN_DAY).date()
    texts: dict[Origin, str] = {"said": " ", "offered": " ", "found": " "}
    read: set[str] = set()
    found: list[tuple[ToolCall, Sources]] = []
    for message in trace.messages:
        for call in message.tool_calls:
            found.append((call, {path: _origins(value, texts, read) for path, value in leaves(call.arguments)}))
        origin = _ORIGINS[message.role]
        texts[origin] += plain(_text(message)) + " "
        read |= meanings_of(message.content, today) if message.role == "user" else set()
    return found


def leaves(value: JsonValue, path: Path = ()) -> Iterator[tuple[Path, JsonValue]]:
    """Values that hold no others, with the way to each."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, (*path, place))
    else:
        yield path, value


def lost_values(before: Sources, after: Sources) -> list[Path]:
    """Values that were said, offered, found or meant before and are not any more, by their place in the arguments."""
    return [path for path, origins in before.items() if origins - after.get(path, frozenset())]


def meanings_of(words: str, today: date) -> set[str]:
    """What words mean beside what they say, as `plain` texts: dates, times, numbers, and places by their short names."""
    named = {plain(meant) for short, meant in ALIASES.items() if f" {plain(short)} " in f" {plain(words)} "}
    return named | {plain(found.value) for found in found_values(words, today)}


def plain(text: str) -> str:
    """Its words in small letters, with one space between them: what two texts have in common however they are punctuated."""
    return _GAP.sub(" ", text.casefold()).strip()


def _origins(value: JsonValue, texts: dict[Origin, str], read: set[str]) -> frozenset[Origin]:
    words = plain(str(value))
    held: set[Origin] = {origin for origin, text in texts.items() if words and f" {words} " in text}
    return frozenset(held | ({"read"} if words in read else set()))


def _text(message: Message) -> str:
    return f"{message.content} {orjson.dumps(message.result).decode()}" if message.result is not None else message.content
