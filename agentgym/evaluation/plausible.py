"""Arguments that look right: what somebody fills in who wants a tool to take the call and does not care what it is for."""

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from agentgym.messages import Message
from agentgym.tools import Tool

_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
# A word with a digit in it, such as TCK-10293 or 18:30.
_IDENTIFIER = re.compile(r"[\w:#-]*\d[\w:#-]*")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NAME = re.compile(r"(?<!^)(?<![.!?]\s)[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
_DEEPEST = 4


def plausible_arguments(tool: Tool, messages: Sequence[Message]) -> dict[str, JsonValue]:
    """A value for every required argument, from what was said and found; by the argument's name, its type and its description."""
    return {name: _value(name, tool.properties.get(name, {}), messages, depth=0) for name in tool.required or tool.properties}


def _value(name: str, schema: Mapping[str, JsonValue], messages: Sequence[Message], *, depth: int) -> JsonValue:
    listed = schema.get("enum")
    if isinstance(listed, list) and listed:
        return _latest_listed(listed, messages)
    kind = schema.get("type")
    if kind == "object":
        return _object(schema, messages, depth=depth)
    if kind == "array":
        items = schema.get("items")
        return [_value(name, items, messages, depth=depth + 1)] if isinstance(items, dict) and depth < _DEEPEST else []
    if kind == "boolean":
        return True
    known = next(_found(name, messages), None)
    if kind in ("integer", "number"):
        return known if isinstance(known, int | float) else _number(messages, is_whole=kind == "integer")
    return str(known) if known is not None else _text(f"{name} {schema.get('description', '')}".lower(), messages)


def _object(schema: Mapping[str, JsonValue], messages: Sequence[Message], *, depth: int) -> JsonValue:
    properties = schema.get("properties")
    if not isinstance(properties, dict) or depth >= _DEEPEST:
        return {}
    return {name: _value(name, inner, messages, depth=depth + 1) for name, inner in properties.items() if isinstance(inner, dict)}


def _latest_listed(listed: Sequence[JsonValue], messages: Sequence[Message]) -> JsonValue:
    """The listed value somebody spoke of last, else the first."""
    for words in _words(messages):
        mentioned = [value for value in listed if str(value).replace("_", " ").lower() in words.lower()]
        if mentioned:
            return mentioned[0]
    return listed[0]


def _found(name: str, messages: Sequence[Message]) -> Iterator[JsonValue]:
    """What results and calls have under this name, the latest first."""
    for message in reversed(messages):
        yield from _under(name, message.result, depth=0)
        for call in message.tool_calls:
            yield from _under(name, call.arguments, depth=0)


def _under(name: str, value: JsonValue, *, depth: int) -> Iterator[JsonValue]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for item in value:
            yield from _under(name, item, depth=depth + 1)
    elif isinstance(value, dict):
        if isinstance(value.get(name), str | int | float):
            yield value[name]
        for item in value.values():
            yield from _under(name, item, depth=depth + 1)


def _number(messages: Sequence[Message], *, is_whole: bool) -> JsonValue:
    text = next((found[-1] for words in _words(messages) if (found := _NUMBER.findall(words))), "1")
    return int(float(text)) if is_whole else float(text)


def _text(meaning: str, messages: Sequence[Message]) -> str:
    patterns = [_NAME, _IDENTIFIER]
    if "mail" in meaning:
        patterns.insert(0, _EMAIL)
    elif "date" in meaning:
        patterns.insert(0, _DATE)
    elif re.search(r"\b(id|number|code|key)\b|_id\b", meaning):
        patterns.insert(0, _IDENTIFIER)
    for pattern in patterns:
        for words in _words(messages):
            if found := pattern.findall(words):
                return str(found[-1])
    return "any"


def _words(messages: Sequence[Message]) -> Iterator[str]:
    """What anybody but the agent said, the latest first."""
    return (message.content for message in reversed(messages) if message.role in ("user", "system") and message.content)
