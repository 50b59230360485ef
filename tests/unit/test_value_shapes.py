"""Formats, patterns and ranges of the arguments in a log."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.tools import Tool
from agentgym.traces.mining import mine_tools
from agentgym.traces.trace import Trace


def mined(values: list[JsonValue]) -> Tool:
    """The tool in a log of one call for each value."""
    calls = [ToolCall(name="pay", arguments={"value": value}) for value in values]
    messages = [message for call in calls for message in (assistant("", call), tool_result(call, "ok"))]
    (tool,) = mine_tools([Trace(conversation_id="c", messages=(user("Hi"), *messages))])
    return tool


def schema(*values: JsonValue) -> dict[str, JsonValue]:
    return mined(list(values)).properties["value"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("date", ["2024-02-29", "2023-12-01", "2024-01-31"]),
        ("time", ["18:30", "07:05", "23:59:59"]),
        ("date-time", ["2024-02-29T18:30:00Z", "2024-02-29 18:30", "2023-01-01T00:00:00+02:00"]),
        ("email", ["ann@example.com", "b.c+d@mail.example.org", "e@f.io"]),
        ("uri", ["https://example.com/a", "s3://bucket/key", "ftp://host"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000", "00000000-0000-0000-0000-000000000000", "ABCDEF01-0000-4000-8000-000000000000"]),
    ],
)
def test_a_format_is_told_when_every_value_has_it(name: str, values: list[str]) -> None:
    assert schema(*values) == {"type": "string", "format": name}
    assert schema(*values, "something else") == {"type": "string"}


def test_what_only_looks_like_a_date_is_none() -> None:
    assert schema("2024-02-29", "2024-02-30", "2024-01-31") == {"type": "string"}


def test_two_values_are_too_few_for_a_format() -> None:
    assert schema("2024-02-29", "2024-02-28") == {"type": "string"}


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        (r"^PAY\-[0-9]{6}$", [f"PAY-{number * 7919:06}" for number in range(40)]),
        (r"^HAT[0-9]{3}$", [f"HAT{number:03}" for number in range(40)]),
        (r"^ord_[0-9]+$", [f"ord_{number * 7}" for number in range(40)]),
        (r"^[a-z]+_[a-z]+_[0-9]{4}$", [f"{('ann', 'bo')[number % 2]}_{'lee' * (1 + number % 3)}_{1000 + number}" for number in range(40)]),
        (r"^[A-Z0-9]{6}$", ["HATHAT", *(f"{'XYZ'[number % 3]}{number:04}{'AB'[number % 2]}"[:: (-1) ** number] for number in range(40))]),
    ],
    ids=["prefix and number", "number of three digits", "number of any length", "words and number", "code"],
)  # fmt: skip
def test_an_identifier_has_the_pattern_that_all_its_values_have(pattern: str, values: list[str]) -> None:
    assert schema(*values) == {"type": "string", "pattern": pattern}
    assert "pattern" not in schema(*values[:20])
    assert "pattern" not in schema(*values, "anything else")


def test_a_year_in_an_identifier_is_no_part_of_its_pattern() -> None:
    tool = mined([f"INV-2024-{number:04}" for number in range(40)])
    assert tool.violations({"value": "INV-2025-0001"}) == []
    assert tool.violations({"value": "2025-0001"})


@pytest.mark.parametrize(
    "values",
    [
        [f"{number}" for number in range(40)],
        [f"{number}.5" for number in range(40)],
        [f"Flat {number}" for number in range(40)],
        ["abc", "de"] * 20,
        [""] * 40,
    ],
    ids=["whole numbers", "numbers", "words with a space", "two words", "empty"],
)
def test_what_does_not_look_made_by_a_machine_has_no_pattern(values: list[str]) -> None:
    assert "pattern" not in schema(*values)


def test_a_range_is_told_and_refuses_nothing() -> None:
    tool = mined([*range(1, 21)])
    assert tool.properties["value"] == {"type": "integer", "examples": [1, 20]}
    assert tool.violations({"value": 1_000_000}) == []


def test_values_deep_inside_an_argument_have_their_own_shapes() -> None:
    tool = mined([[{"flight": f"HAT{number:03}", "date": "2024-05-20"}] for number in range(40)])
    assert tool.properties["value"]["items"] == {
        "type": "object",
        "properties": {"flight": {"type": "string", "pattern": "^HAT[0-9]{3}$"}, "date": {"type": "string", "format": "date"}},
        "required": ["flight", "date"],
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(st.from_regex(r"\A([A-Z]{1,3}[-_.]?\d{1,4}|[a-z]{1,2}\d|\W{1,2}\d\S?)\Z"), min_size=1, max_size=6))
def test_a_mined_schema_accepts_every_value_it_was_mined_from(values: list[str]) -> None:
    many: list[JsonValue] = [f"{text}" for text in values] * 12
    tool = mined(many)
    assert [tool.violations({"value": value}) for value in many] == [[]] * len(many)
