"""What the record did, done again with what is true here."""

from datetime import UTC, datetime

import pytest

from agentgym.episode import Conversation
from agentgym.errors import InsufficientData
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.retrieval import RetrievalPolicy
from agentgym.tools import Tool
from agentgym.traces.trace import Trace

FIND = Tool.from_openai(
    {
        "name": "find_order",
        "parameters": {
            "type": "object",
            "properties": {"order": {"type": "string"}, "email": {"type": "string"}, "channel": {"type": "string"}},
            "required": ["order", "channel"],
        },
    }
)
STOP = Tool.from_openai({"name": "stop_order", "parameters": {"type": "object", "properties": {"order": {"type": "string"}}}})
TOOLS = (FIND, STOP)


def found(order: str, email: str, day: str) -> Trace:
    call = ToolCall(name="find_order", arguments={"order": order, "email": email, "channel": "chat"})
    messages = (
        user(f"Where is my order {order}? I am {email}"),
        assistant("", call),
        tool_result(call, {"order": order, "arrives": day}),
        assistant(f"It arrives on {day}."),
        user("Thanks"),
        assistant("You are welcome."),
    )
    return Trace(conversation_id=order, messages=messages, tools=TOOLS)


RECORD = [found("ORD-11", "ann@example.com", "2026-03-04"), found("ORD-12", "bob@example.com", "2026-05-06")]


def act(*messages: Message, tools: tuple[Tool, ...] = TOOLS) -> Message:
    policy = RetrievalPolicy.from_traces(RECORD)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return policy.act(Conversation(conversation_id="x", messages=messages, tools=tools, now=now)).message


def test_a_call_is_made_with_what_the_customer_says_here():
    (call,) = act(user("Where is order ORD-77? I am cem@example.com")).tool_calls
    # The channel was nobody's word on record, so it is the agent's own choice.
    assert call.arguments == {"order": "ORD-77", "email": "cem@example.com", "channel": "chat"}


def test_an_optional_argument_that_nobody_told_is_left_out():
    (call,) = act(user("Where is my order ORD-77?")).tool_calls
    assert call.arguments == {"order": "ORD-77", "channel": "chat"}


def test_without_a_required_argument_the_call_is_not_made():
    assert act(user("Where is my order?")).tool_calls == ()


def test_a_tool_out_of_scope_is_not_called():
    assert act(user("Where is order ORD-77?"), tools=(STOP,)).tool_calls == ()


def test_words_tell_the_facts_of_this_conversation():
    call = ToolCall(name="find_order", arguments={"order": "ORD-77", "channel": "chat"})
    answer = act(user("Where is order ORD-77?"), assistant("", call), tool_result(call, {"order": "ORD-77", "arrives": "2026-09-09"}))
    assert answer.content == "It arrives on 2026-09-09."


def test_words_that_tell_what_is_not_known_here_are_not_repeated():
    call = ToolCall(name="find_order", arguments={"order": "ORD-77", "channel": "chat"})
    answer = act(user("Where is order ORD-77?"), assistant("", call), tool_result(call, {"error": "no such order"}))
    assert not any(day in answer.content for day in ("2026-03-04", "2026-05-06"))


def test_a_call_is_not_made_twice_in_a_row():
    call = ToolCall(name="find_order", arguments={"order": "ORD-77", "channel": "chat"})
    assert act(user("Where is my order ORD-77?"), assistant("", call), tool_result(call, {})).tool_calls == ()


def test_equal_conversations_get_equal_answers():
    assert act(user("Thanks")) == act(user("Thanks")) == assistant("You are welcome.")


def test_a_record_in_which_no_agent_acts_remembers_nothing():
    with pytest.raises(InsufficientData, match="1 traces have none"):
        RetrievalPolicy.from_traces([Trace(conversation_id="a", messages=(user("Hello"),))])
