"""The attributes of OTLP's JSON as plain JSON."""

from typing import Any

from agentgym.traces.importers.shapes import a_list, objects


def attributes_of(holder: dict[str, Any]) -> dict[str, Any]:
    pairs = objects(holder.get("attributes"), "The attributes")
    return {str(pair.get("key")): value_of(pair.get("value")) for pair in pairs}


def value_of(wrapped: Any) -> Any:
    """The JSON of one of OTLP's values, which are objects that name their type."""
    if not isinstance(wrapped, dict) or not wrapped:
        return None
    kind, value = next(iter(wrapped.items()))
    if kind == "arrayValue" and isinstance(value, dict):
        return [value_of(item) for item in a_list(value.get("values"), "The values of an array")]
    if kind == "kvlistValue" and isinstance(value, dict):
        return attributes_of({"attributes": value.get("values")})
    is_number = kind == "intValue" and isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 19
    return int(value) if is_number else value
