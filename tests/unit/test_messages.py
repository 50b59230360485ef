import pytest
from pydantic import ValidationError

from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user

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
