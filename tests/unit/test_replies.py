"""The words of a turn."""

from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall, tool_result, user
from agentgym.policies.replies import TemplateReplies, described
from agentgym.tools import Tool

TOOL = Tool(
    name="refund",
    parameters={
        "type": "object",
        "properties": {
            "email": {"description": "email address of the account"},
            "payment_id": {},
            "why": {"description": "Reason of the refund."},
        },
    },
)


def told(message: Message) -> str:
    conversation = Conversation(conversation_id="c", messages=(message,), tools=(TOOL,), now=datetime(2024, 1, 1, tzinfo=UTC))
    return TemplateReplies().inform(conversation)


def result(content: JsonValue) -> Message:
    return tool_result(ToolCall(name="refund"), content)


def test_a_question_names_arguments_by_their_description_else_by_their_name() -> None:
    conversation = Conversation(conversation_id="c", messages=(), tools=(TOOL,), now=datetime(2024, 1, 1, tzinfo=UTC))
    question = TemplateReplies().ask(conversation, TOOL, ["email", "payment_id", "why"])
    assert question == "Could you please tell me the email address of the account, the payment id and the reason of the refund?"


def test_a_description_that_begins_with_an_article_keeps_it() -> None:
    tool = Tool(name="t", parameters={"type": "object", "properties": {"a": {"description": "Your account number"}}})
    assert described(tool, "a") == "your account number"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"user_id": "USR-7", "plan": "team"}, "Done: user id USR-7, plan team."),
        ({"error": "the service is busy"}, "I am sorry, that did not work: the service is busy."),
        ([], "I am sorry, I found nothing that fits."),
        ([{"name": "Isla"}, {"name": "Cabalen"}], "I found 2, the first is: name Isla."),
    ],
)
def test_informing_tells_the_latest_result(content: JsonValue, words: str) -> None:
    assert told(result(content)) == words


def test_informing_asks_nothing() -> None:
    assert "?" not in told(user("hello")) + told(result({"a": 1}))
