"""A log moved to another business, whole or not at all."""

import json
from pathlib import Path

import pytest

from agentgym.errors import InvalidInput
from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.synthesis.adaptation import DomainMapping, adapt, read_mapping
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = Tool(
    name="Hotels.FindHotel",
    description="Find a hotel in a city.",
    parameters={
        "type": "object",
        "properties": {
            "location": {"type": "string", "description": "City of the hotel"},
            "stars": {"type": "string", "enum": ["three", "five"], "default": "three"},
        },
        "required": ["location"],
        "additionalProperties": False,
    },
)


def conversation(city: str = "Rome") -> Trace:
    call = ToolCall(name="Hotels.FindHotel", arguments={"location": city, "stars": "five"})
    messages = (
        user(f"I need a HOTEL in {city}, with five stars. Hotels are dear, I know."),
        assistant("", call),
        tool_result(call, [{"location": city, "name": "Grand Hotel", "stars": "five"}]),
        assistant(f"The Grand Hotel in {city} has five."),
    )
    return Trace(conversation_id="c1", messages=messages, tools=(FIND,))


WHOLE = {
    "tools": {"Hotels.FindHotel": "Clinics.FindClinic"},
    "slots": {"location": "town", "stars": "grade"},
    "values": {"Rome": "Bern", "three": "basic", "five": "full"},
    "words": {"hotel": "clinic", "hotels": "clinics", "stars": "service"},
}


def moved(trace: Trace | None = None, **changes: dict[str, str]) -> Trace:
    (new,) = adapt([trace or conversation()], DomainMapping.model_validate(WHOLE | changes))
    return new


def test_words_calls_results_and_schemas_speak_of_the_new_business() -> None:
    new = moved()
    assert new.messages[0].content == "I need a CLINIC in Bern, with full service. Clinics are dear, I know."
    (call,) = new.messages[1].tool_calls
    assert (call.name, call.arguments) == ("Clinics.FindClinic", {"town": "Bern", "grade": "full"})
    assert (new.messages[2].name, new.messages[2].result) == (
        "Clinics.FindClinic",
        [{"town": "Bern", "name": "Grand Clinic", "grade": "full"}],
    )
    (tool,) = new.tools
    assert (tool.name, tool.description, tool.required) == ("Clinics.FindClinic", "Find a clinic in a city.", ("town",))
    assert tool.properties["grade"] == {"type": "string", "enum": ["basic", "full"], "default": "basic"}
    assert tool.violations(call.arguments) == []
    assert new.messages[3].content == "The Grand Clinic in Bern has full."


def test_a_service_alone_keeps_its_methods() -> None:
    assert moved(tools={}, services={"Hotels": "Clinics"}).messages[1].tool_calls[0].name == "Clinics.FindHotel"


def test_names_that_stay_change_nothing() -> None:
    trace = conversation()
    same = DomainMapping(services={"Hotels": "Hotels"}, values={"three": "three", "five": "five"})
    assert adapt([trace], same) == (trace,)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tools": {}}, "'Hotels.FindHotel' has no new name, nor has its service"),
        ({"services": {"Flights": "Trains"}}, "under services it names 'Flights', which the log does not have; it has Hotels"),
        ({"slots": {"locatoin": "town"}}, "under slots it names 'locatoin', which the log does not have; it has location"),
        ({"slots": {"location": "stars"}}, "of the slots of Hotels.FindHotel, 'location' and 'stars' all become 'stars'"),
        ({"values": {"three": "basic"}}, "it maps 1 of 2 values and leaves out 'five'"),
        ({"values": {"three": "full", "five": "full"}}, "of the values, 'five' and 'three' all become 'full'"),
        ({"values": WHOLE["values"] | {"Rome": "Grand Hotel"}}, "becomes 'Grand Hotel', which is a value of the log already"),
        ({"words": {"Rome": "Bern"}}, "'Rome' is both a value and a word"),
        ({"words": {"zeppelin": "boat"}}, "under words it names 'zeppelin', which nobody says, gives or finds in the log"),
        ({"words": {"hotel": ""}}, "under words 'hotel' becomes ''; neither may be empty"),
        ({"values": WHOLE["values"] | {"": "x"}}, "under values '' becomes 'x'; neither may be empty"),
    ],
)
def test_an_ambiguous_or_incomplete_mapping_is_refused_in_one_line(changes: dict[str, dict[str, str]], told: str) -> None:
    with pytest.raises(InvalidInput, match="A mapping must be unambiguous and complete; ") as refusal:
        moved(**changes)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_conversation_that_would_not_hold_together_is_named() -> None:
    """`five` is said inside a word's phrase, which the longer phrase of the mapping takes away."""
    with pytest.raises(InvalidInput, match=r"in 'c1' 'five' of Hotels\.FindHotel was known from what was said and would be no more"):
        moved(words={"with five stars": "with everything", "has five": "has all"})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "cannot be read"),
        ("[1]", "Input should be a valid dictionary"),
        (json.dumps({"slot": {}}), "slot: Extra inputs are not permitted"),
        (json.dumps({"slots": {"a": 1}}), "slots.a: Input should be a valid string"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "mapping.json"
    path.write_text(content)
    with pytest.raises(InvalidInput, match=told):
        read_mapping(path)


def test_a_mapping_is_read_from_json_and_yaml(tmp_path: Path) -> None:
    for name, content in (("m.json", json.dumps(WHOLE)), ("m.yaml", "slots: {location: town}")):
        (tmp_path / name).write_text(content)
    assert read_mapping(tmp_path / "m.json") == DomainMapping.model_validate(WHOLE)
    assert read_mapping(tmp_path / "m.yaml").slots == {"location": "town"}
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_mapping(tmp_path / "absent.json")
