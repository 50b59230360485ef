"""What recorded turns teach."""

import numpy as np
import pytest

from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.planner.examples import argument_examples, one_call_at_a_time, read_turns
from agentgym.policies.planner.gazetteer import Gazetteer, learn_gazetteer
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = Tool(
    name="find",
    parameters={"type": "object", "properties": {"city": {"type": "string"}, "seats": {"type": "integer"}}, "required": ["city"]},
)


def trace(*messages: Message) -> Trace:
    return Trace(conversation_id="c", messages=messages, tools=(FIND,))


def call(**arguments: str | int) -> ToolCall:
    return ToolCall(name="find", arguments=dict(arguments))


def chosen_values(*messages: Message) -> list[tuple[bool, bool]]:
    """Of each example whether it is due, and whether something was given."""
    turns = read_turns(trace(*messages), (), Gazetteer())
    examples = argument_examples(turns, np.random.default_rng(0), bits=10)
    return [(example.is_due, example.options.chosen < len(example.options.dense) - 1) for example in examples]


def test_a_value_is_learned_as_given_when_due_and_as_missing_before_it_was_said() -> None:
    find = call(city="Boston")
    examples = chosen_values(user("Find me a place"), assistant("Where?"), user("In Boston"), assistant("", find), tool_result(find, []))
    assert examples == [(True, True), (True, False), (False, False), (False, False)]


def test_a_value_nobody_said_teaches_nothing_when_due() -> None:
    find = call(city="Boston")
    assert chosen_values(user("Find me a place"), assistant("", find), tool_result(find, [])) == [(True, False)]


def test_a_call_that_failed_is_not_imitated() -> None:
    find = call(city="Boston")
    assert chosen_values(user("In Boston"), assistant("", find), tool_result(find, {"error": "no such city"})) == []


def test_several_calls_of_one_message_become_a_chain() -> None:
    one, two = call(city="Boston"), call(city="Rome")
    messages = (user("Boston or Rome?"), assistant("", one, two), tool_result(one, [1]), tool_result(two, [2]), assistant("Here."))
    chain = list(one_call_at_a_time(messages))
    assert [message.role for message in chain] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
    assert [message.result for message in chain if message.role == "tool"] == [[1], [2]]


def test_a_call_of_an_unknown_tool_is_not_imitated() -> None:
    turns = read_turns(trace(user("hi"), assistant("", ToolCall(name="dance"))), (), Gazetteer())
    assert [turn.is_accepted for turn in turns] == [False]


def test_the_gazetteer_knows_given_and_found_names_but_no_addresses() -> None:
    find = call(city="Boston")
    rows = [{"name": "Isla", "street_address": "1 Elm Street"}]
    gazetteer = learn_gazetteer([((user("x"), assistant("", find), tool_result(find, rows)), {"find": FIND})])
    assert gazetteer.names == {"boston": "Boston", "isla": "Isla"}
    assert gazetteer.times_given("city", "boston") == 1
    assert gazetteer.times_given_alike("city_of_event", "boston") == 1


@pytest.mark.parametrize(("calls", "is_known"), [(9, False), (10, True)])
def test_how_usual_an_argument_is_needs_ten_calls(calls: int, is_known: bool) -> None:
    gazetteer = learn_gazetteer([((assistant("", call(city="Rome")),), {"find": FIND})] * calls)
    assert (gazetteer.usual_share.get("find") == {"city": 1.0}) is is_known


def test_a_gazetteer_survives_json() -> None:
    gazetteer = learn_gazetteer([((assistant("", call(city="Rome")),), {"find": FIND})])
    assert Gazetteer.from_json(gazetteer.to_json()).times_given_alike("city", "rome") == 1
