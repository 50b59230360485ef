"""Requests in OpenAI's form are read, and what is wrong with one is said by its field."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from agentgym.messages import Message, ToolCall, assistant
from agentgym.serving.openai_api import ApiError, Usage, completion, event_stream, read_chat_request, read_json_object

HELLO = [{"role": "user", "content": "Hello"}]
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"id": "7"}'}}


def request(**fields: Any) -> Any:
    return read_chat_request({"model": "support", "messages": HELLO, **fields}, {})


def test_a_conversation_with_tools_is_read_as_our_own_messages():
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{}"},
    ]
    read = request(messages=messages, tools=[LOOK_UP])
    assert read.messages[1].tool_calls[0].arguments == {"id": "7"}
    assert read.messages[2].name == "look_up"
    assert [tool.name for tool in read.tools] == ["look_up"]


def test_a_request_without_tool_choice_has_no_tools_in_scope():
    assert request(tools=[LOOK_UP], tool_choice="none").tools == ()


def test_the_conversation_can_be_named_in_the_body_or_in_a_header():
    assert request(conversation_id="c-1").conversation_id == "c-1"
    assert read_chat_request({"model": "support", "messages": HELLO}, {"x-conversation-id": "c-2"}).conversation_id == "c-2"


def test_user_and_metadata_become_customer_and_tags():
    read = request(user="ann", metadata={"queue": "billing"})
    assert (read.customer_id, dict(read.tags)) == ("ann", {"queue": "billing"})


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no model": ({"model": None}, "model", "must name its model"),
    "no messages": ({"messages": []}, "messages", "holds none"),
    "messages that are text": ({"messages": "hello"}, "messages", "must hold messages"),
    "a message that is text": ({"messages": ["hello"]}, "messages", "Every message must be an object"),
    "an unknown role": ({"messages": [{"role": "robot", "content": "x"}]}, "messages", "role"),
    "nothing to answer": ({"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]}, "messages", "something to answer"),
    "tools that are an object": ({"tools": {"name": "look_up"}}, "tools", "list of functions"),
    "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools", "function with a name"),
    "a tool with a broken schema": ({"tools": [{"name": "look_up", "parameters": {"type": 7}}]}, "tools", "must be a JSON Schema"),
    "several choices": ({"n": 2}, "n", "one choice"),
    "a forced tool": ({"tool_choice": "required"}, "tool_choice", "policy's to decide"),
    "a conversation id with spaces": ({"conversation_id": "a b"}, "conversation_id", "visible ASCII"),
    "metadata that is no text": ({"metadata": {"a": 1}}, "metadata", "'a' is not one"),
    "a user that is a number": ({"user": 7}, "user", "at most"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_by_its_field(case):
    fields, param, fact = WRONG[case]
    with pytest.raises(ApiError) as refused:
        request(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert fact in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_body_that_is_no_json_object_is_refused(body):
    with pytest.raises(ApiError) as refused:
        read_json_object(body)
    assert refused.value.code == "invalid_json"


def test_an_error_has_openais_form():
    error = orjson.loads(ApiError(status=404, message="No.", code="model_not_found", param="model").body())
    assert error == {"error": {"message": "No.", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}}


def answered(message: Message) -> dict[str, Any]:
    return completion(
        message,
        usage=Usage(prompt_tokens=3, completion_tokens=4),
        request_id="r1",
        model="support:2",
        variant="2",
        conversation_id="c1",
        digest="d" * 64,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_call_without_an_id_gets_one():
    message = answered(assistant("", ToolCall(name="look_up", arguments={"id": "7"})))["choices"][0]["message"]
    (call,) = message["tool_calls"]
    assert call["id"].startswith("call_")
    assert call["function"] == {"name": "look_up", "arguments": '{"id":"7"}'}


def test_an_answer_names_its_version_and_its_conversation():
    told = answered(assistant("Hello"))
    assert (told["version"], told["conversation_id"], told["usage"]["total_tokens"]) == ("2", "c1", 7)


def test_a_stream_holds_the_same_answer_and_ends():
    events = [line.removeprefix(b"data: ") for line in event_stream(answered(assistant("Hello"))).split(b"\n\n") if line]
    assert orjson.loads(events[0])["choices"][0]["delta"]["content"] == "Hello"
    assert orjson.loads(events[1])["choices"][0]["finish_reason"] == "stop"
    assert events[-1] == b"[DONE]"
