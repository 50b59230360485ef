"""What is asked of JSON whose shape nobody has checked yet."""

from typing import Any

import orjson


class NotAConversation(ValueError):
    """The shape is so wrong that no conversation can be read; the message is the reason, one sentence."""


def an_object(value: Any, what: str) -> dict[str, Any]:
    """The value, when it is an object. Raises NotAConversation, which calls it `what`: a phrase such as "A trace"."""
    if not isinstance(value, dict):
        raise NotAConversation(f"{what} must be an object; got {_kind(value)}.")
    return value


def a_list(value: Any, what: str) -> list[Any]:
    """The value, when it is a list; nothing is an empty one. Raises NotAConversation."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise NotAConversation(f"{what} must be a list; got {_kind(value)}.")
    return value


def objects(value: Any, what: str) -> list[dict[str, Any]]:
    """The objects of a list; nothing is an empty one. Raises NotAConversation."""
    return [an_object(item, f"Each of {what[0].lower()}{what[1:]}") for item in a_list(value, what)]


def identifier(value: Any) -> str | None:
    """A name or number as the text it is known by; None for what identifies nothing."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number or (isinstance(value, str) and value) else None


def parsed(value: Any) -> Any:
    """The object, list or text that is written as JSON inside a text; the value itself when it is anything else."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "[", '"'):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def plain_tags(values: dict[str, Any]) -> dict[str, str]:
    """What can be a tag among the values: texts and numbers."""
    return {key: str(value) for key, value in values.items() if isinstance(value, str | int | float)}


def _kind(value: Any) -> str:
    return "nothing" if value is None else type(value).__name__
