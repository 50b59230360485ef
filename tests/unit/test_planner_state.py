"""What is kept of a conversation, and that it is shared by conversations that begin alike."""

from datetime import UTC, datetime

import numpy as np
import pytest

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user
from agentgym.policies.planner.gazetteer import Gazetteer
from agentgym.policies.planner.memory import Memory
from agentgym.policies.planner.state import State
from agentgym.policies.planner.values import result_words, round_numbers, value_kind
from agentgym.tools import Tool

LOOK_UP = Tool(name="look_up", parameters={"type": "object", "properties": {"email": {"type": "string"}}, "required": ["email"]})
CALL = ToolCall(name="look_up", arguments={"email": "ann@mail.example"})


def conversation(*messages: Message, conversation_id: str = "c") -> Conversation:
    return Conversation(conversation_id=conversation_id, messages=messages, tools=(LOOK_UP,), now=datetime(2019, 3, 1, tzinfo=UTC))


def state_after(*messages: Message) -> State:
    return Memory(Gazetteer()).state_of(conversation(*messages))


def test_a_value_deep_in_a_result_becomes_a_candidate_under_its_name() -> None:
    state = state_after(user("hello"), assistant("", CALL), tool_result(CALL, {"user": {"user_id": "USR-7", "plans": [{"name": "team"}]}}))
    place = state.index["identifier", "usr-7"]
    assert state.values[place] == "USR-7"
    assert state.result_keys["user_id"] == {place: (0, 0)}
    assert ("text", "team") in state.index


def test_an_identifier_in_the_system_message_is_a_candidate() -> None:
    assert ("identifier", "tck-48213") in state_after(system("Ticket TCK-48213.")).index


def test_a_failed_call_is_remembered_as_failed() -> None:
    state = state_after(user("hi"), assistant("", CALL), tool_result(CALL, {"error": "nobody has this address"}))
    assert state.calls[0].is_error is True
    assert "error:nobody" in state.found.words["look_up"]


def test_reading_on_gives_the_same_as_reading_from_the_start() -> None:
    messages = (
        user("I am ann@mail.example"),
        assistant("", CALL),
        tool_result(CALL, {"user_id": "USR-7"}),
        assistant("Done?"),
        user("yes"),
    )
    memory = Memory(Gazetteer())
    for count in range(1, len(messages) + 1):
        state = memory.state_of(conversation(*messages[:count]))
    whole = state_after(*messages)
    assert state.keys == whole.keys
    np.testing.assert_array_equal(state.table, whole.table)
    np.testing.assert_array_equal(state.contexts, whole.contexts)


def test_conversations_that_begin_alike_share_their_states() -> None:
    memory = Memory(Gazetteer())
    one = memory.state_of(conversation(user("hello"), conversation_id="one"))
    assert memory.state_of(conversation(user("hello"), conversation_id="two")) is one


def test_a_conversation_whose_past_changed_is_read_again() -> None:
    memory = Memory(Gazetteer())
    memory.state_of(conversation(user("I am ann@mail.example"), assistant("Hello")))
    state = memory.state_of(conversation(user("I am bob@mail.example"), assistant("Hello"), user("well?")))
    assert ("email", "ann@mail.example") not in state.index


def test_extending_a_state_leaves_it_as_it_was() -> None:
    before = state_after(user("hello"))
    before.extended(user("I am ann@mail.example"))
    assert ("email", "ann@mail.example") not in before.index


@pytest.mark.parametrize(
    ("number", "limit", "reaches"), [(31, 30, True), (29, 30, False), (200, 200, True), (199.9, 200, False), (31, 10, True)]
)
def test_a_number_says_which_usual_limits_it_reaches(number: float, limit: float, reaches: bool) -> None:
    assert (limit in round_numbers(number)) is reaches


def test_zero_and_negative_numbers_have_words_of_their_own() -> None:
    assert round_numbers(0) == [0]
    assert -3 in round_numbers(-3.5)


def test_a_result_says_its_short_values_and_hides_what_is_only_its_own() -> None:
    words = list(result_words({"status": "failed", "name": "A very long name that nobody else has", "active": True}))
    assert words == ["status=failed", "name=…", "active=true"]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("2019-03-08", "date"), ("18:30", "time"), ("12.50", "number"), (3, "number"), ("today", "text"), ([1], "structure")],
)
def test_the_kind_of_a_value_follows_from_how_it_is_written(value: object, kind: str) -> None:
    assert value_kind(value) == kind  # type: ignore[arg-type]
