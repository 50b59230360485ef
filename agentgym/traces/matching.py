"""When two calls ask for the same: however case, whitespace, numbers and booleans are written."""

import re
from collections.abc import Mapping

from pydantic import JsonValue

from agentgym.messages import ToolCall

# "2.0" is 2. Whole numbers are compared as they are written: a leading zero makes an identifier, and "007" is not 7.
_DECIMAL = re.compile(r"-?\d+\.\d+")


def canonical(value: JsonValue) -> str:
    """One text for all ways to write a value."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{text}" for name, text in sorted(canonical_arguments(value).items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    text = " ".join(str(value).split()).casefold()
    return text.rstrip("0").rstrip(".") if _DECIMAL.fullmatch(text) else text


def canonical_arguments(arguments: Mapping[str, JsonValue]) -> dict[str, str]:
    """Each argument as one text; one that is null is left out, as if it had not been given."""
    return {name: canonical(value) for name, value in arguments.items() if value is not None}


def call_key(call: ToolCall) -> str:
    """Equal for calls of the same tool with the same arguments."""
    return call.name + canonical(call.arguments)


def agreement(call: ToolCall, recorded: ToolCall) -> float:
    """The share of the arguments either call gives in which both agree, 0–1; 0 for calls of different tools, 1 when neither has any."""
    if call.name != recorded.name:
        return 0.0
    left, right = canonical_arguments(call.arguments), canonical_arguments(recorded.arguments)
    given = left.keys() | right.keys()
    return sum(left.get(name) == right.get(name) for name in given) / len(given) if given else 1.0
