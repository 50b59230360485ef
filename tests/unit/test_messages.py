import pytest
from pydantic import ValidationError

from agentgym.errors import InvalidInput
from agentgym.messages import Message, ToolCall, assistant, system, to_openai_messages, tool_result, user
from agentgym.traces.importers.chat import read_message

CALL = ToolCall(id="7", name="check_payment", arguments={"user_id": "u1"})


def test_each_word_makes_a_message_of_its_role():
    assert [message.role for message in (system("Be kind."), user("Hi"), assistant("Hello"))] == ["system", "user", "assistant"]


def test_an_assistant_message_may_hold_words_and_calls():
    message = assistant("One moment.", CALL)
    assert (message.content, message.tool_calls) == ("One moment.", (CALL,))


def test_a_tool_result_answers_its_call_by_name_and_id():
    answer = tool_result(CALL, {"status": "paid"})
    assert (answer.role, answer.name, answer.tool_call_id, answer.result) == ("tool", "check_payment", "7", {"status": "paid"})


def test_a_tool_result_has_no_id_when_its_call_has_none():
    assert tool_result(ToolCall(name="check_payment"), []).tool_call_id is None


@pytest.mark.parametrize("result", [{"error": "no such user"}, "Error: payment not found"])
def test_a_reported_failure_is_an_error(result):
    assert tool_result(CALL, result).is_error


def test_a_failure_told_in_text_is_an_error():
    assert Message(role="tool", name="check_payment", content="Error: payment not found").is_error


@pytest.mark.parametrize("result", [{"status": "paid"}, [], None, "Transfer successful", 0])
def test_any_other_result_is_no_error(result):
    assert not tool_result(CALL, result).is_error


def test_only_a_tool_message_can_be_an_error():
    assert not user("Error: I typed that myself").is_error


def test_a_message_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        user("Hi").content = "Bye"


def test_a_message_survives_the_way_through_json():
    message = assistant("One moment.", CALL)
    assert Message.model_validate_json(message.model_dump_json()) == message


def test_openais_form_writes_arguments_as_text_and_answers_by_id():
    call, answer = to_openai_messages([assistant("One moment.", CALL), tool_result(CALL, {"status": "paid"})])
    function = {"name": "check_payment", "arguments": '{"user_id":"u1"}'}
    assert call == {"role": "assistant", "content": "One moment.", "tool_calls": [{"id": "7", "type": "function", "function": function}]}
    assert answer == {"role": "tool", "tool_call_id": "7", "content": '{"status":"paid"}'}


def test_a_call_without_an_id_gets_one_from_its_place_and_keeps_it():
    first, second = ToolCall(name="find"), ToolCall(name="book")
    messages = [user("Hi"), assistant("", first, second), tool_result(second, 1), tool_result(first, 2)]
    written = to_openai_messages(messages)
    assert [call["id"] for call in written[1]["tool_calls"]] == ["call_1_0", "call_1_1"]
    assert [answer["tool_call_id"] for answer in written[2:]] == ["call_1_1", "call_1_0"]
    assert to_openai_messages(messages[:3]) == written[:3]


def test_an_answer_without_id_and_name_belongs_to_the_oldest_open_call():
    answers = [Message(role="tool", content="done"), Message(role="tool", content="done")]
    written = to_openai_messages([assistant("", ToolCall(name="find"), ToolCall(name="book")), *answers])
    assert [answer["tool_call_id"] for answer in written[1:]] == ["call_0_0", "call_0_1"]


def test_an_answer_to_no_call_still_has_an_id():
    assert to_openai_messages([Message(role="tool", name="find", content="done")])[0]["tool_call_id"] == "call_0"


@pytest.mark.parametrize(
    "message",
    [
        system("Be kind."),
        user("Grüße 👋"),
        assistant(),
        assistant("", CALL),
        *(Message(role="tool", tool_call_id="7", result=result) for result in ({"status": "paid"}, [], None, "Transfer successful", 0)),
        Message(role="tool", tool_call_id="7", content="Error: payment not found"),
    ],
)
def test_openais_form_reads_back_as_the_same_message(message):
    assert read_message(to_openai_messages([message])[0]) == message


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("Hi", "is str"),
        ({"role": "judge"}, "'assistant'"),
        ({"role": "assistant", "tool_calls": [{"name": "find", "arguments": "u1"}]}, "dict"),
    ],
)
def test_what_is_no_message_is_bad_input(raw, fault):
    with pytest.raises(InvalidInput, match=f"A message needs a role, .*{fault}"):
        read_message(raw)
