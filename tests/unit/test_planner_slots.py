"""How an argument is understood from its schema."""

import pytest
from pydantic import JsonValue

from agentgym.policies.planner.slots import Slot, same_value, slot_kind, spoken, tool_view
from agentgym.tools import Tool


def slot(name: str, **schema: JsonValue) -> Slot:
    return tool_view(Tool(name="t", parameters={"type": "object", "properties": {name: schema}})).slots[0]


@pytest.mark.parametrize(
    ("name", "schema", "kind"),
    [
        ("active", {"type": "boolean"}, "flag"),
        ("has_wifi", {"type": "string", "enum": ["True", "False"]}, "flag"),
        ("reason", {"type": "string", "enum": ["late", "broken"]}, "choice"),
        ("stars", {"type": "string", "enum": ["1", "2"]}, "number"),
        ("amount", {"type": "number"}, "number"),
        ("check_in_date", {"type": "string"}, "date"),
        ("number_of_days", {"type": "string", "description": "days in the hotel"}, "number"),
        ("starts", {"type": "string", "format": "time"}, "time"),
        ("contact", {"type": "string", "format": "email"}, "email"),
        ("email", {"type": "string"}, "email"),
        ("user_id", {"type": "string"}, "identifier"),
        ("flights", {"type": "array"}, "structure"),
        ("city", {"type": "string", "description": "city of the event"}, "text"),
    ],
)
def test_the_kind_of_an_argument_follows_from_its_schema(name: str, schema: dict[str, JsonValue], kind: str) -> None:
    assert slot_kind(name, schema) == kind


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [
        ("integer", "3", 3),
        ("number", "12.5", 12.5),
        ("number", "12", 12),
        ("boolean", "True", True),
        ("string", 5, "5"),
        ("integer", "many", "many"),
    ],
)
def test_a_value_is_given_in_the_type_the_schema_asks_for(kind: str, value: JsonValue, typed: JsonValue) -> None:
    given = slot("x", type=kind).typed(value)
    assert given == typed
    assert type(given) is type(typed)


def test_arguments_declared_alike_in_two_tools_are_one_slot() -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"user_id": {"type": "string"}}}
    first, second = (tool_view(Tool(name=name, parameters=schema)) for name in ("look", "pay"))
    assert first.slots[0] is second.slots[0]


def test_equal_values_have_equal_keys_whatever_they_are_written_like() -> None:
    assert same_value("2.0") == same_value(2) == same_value(" 2 ")
    assert same_value("San  Jose") == same_value("san jose")
    assert same_value(True) == same_value("True")
    assert same_value("2019-03-08") != same_value("2019")


def test_a_listed_value_is_said_without_underscores() -> None:
    assert spoken("password_reset") == "password reset"
