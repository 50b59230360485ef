"""Strings of a conversation replaced everywhere at once: in words, calls, results, and in the keys of results."""

import re
from collections.abc import Callable, Iterator, Mapping

from pydantic import JsonValue

from agentgym.messages import Message
from agentgym.traces.trace import Trace

Replace = Callable[[str], str]


def rewritten(trace: Trace, replace: Replace) -> Trace:
    """The trace with `replace` applied to every string that is said, given or found; ids of calls, tool names and argument names stay."""
    return trace.model_copy(update={"messages": tuple(_message(message, replace) for message in trace.messages)})


def rewritten_value(value: JsonValue, replace: Replace) -> JsonValue:
    """The value with every string in it replaced, keys included."""
    if isinstance(value, str):
        return replace(value)
    if isinstance(value, list):
        return [rewritten_value(item, replace) for item in value]
    if isinstance(value, dict):
        return {replace(name): rewritten_value(item, replace) for name, item in value.items()}
    return value


def replacer(replacements: Mapping[str, str], *, exact_case: frozenset[str] = frozenset()) -> Replace:
    """A function that puts the replacement for each whole word or phrase, the longest first, all in one pass.

    Case is taken from what is replaced: all small and all large stay so. A phrase in `exact_case` is replaced only where it is written so.
    """
    known = {old.casefold(): new for old, new in replacements.items()}
    if not known:
        return lambda text: text
    longest_first = sorted(replacements, key=len, reverse=True)
    phrases = (rf"(?-i:{re.escape(old)})" if old in exact_case else re.escape(old) for old in longest_first)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: _as_cased(match[0], known[match[0].casefold()]), text)


def strings_with_keys(trace: Trace) -> Iterator[tuple[str, JsonValue]]:
    """Every value that is given or found, with the name it stands under; keys that are values, such as ids, under ``."""
    for message in trace.messages:
        for call in message.tool_calls:
            yield from _keyed("", call.arguments)
        if message.result is not None:
            yield from _keyed("", message.result)


def _keyed(name: str, value: JsonValue) -> Iterator[tuple[str, JsonValue]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield "", key
            yield from _keyed(key, item)
    elif isinstance(value, list):
        for item in value:
            yield from _keyed(name, item)
    else:
        yield name, value


def _message(message: Message, replace: Replace) -> Message:
    calls = tuple(
        call.model_copy(update={"arguments": {name: rewritten_value(value, replace) for name, value in call.arguments.items()}})
        for call in message.tool_calls
    )
    return message.model_copy(
        update={"content": replace(message.content), "tool_calls": calls, "result": rewritten_value(message.result, replace)}
    )


def _as_cased(old: str, new: str) -> str:
    letters = [character for character in old if character.isalpha()]
    if letters and all(character.islower() for character in letters):
        return new.lower()
    if len(letters) > 1 and all(character.isupper() for character in letters):
        return new.upper()
    return new[:1].upper() + new[1:] if old[:1].isupper() else new
