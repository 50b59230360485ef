from datetime import datetime

from agentgym.episode import Conversation
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.policies.scripted import Move, Script, ScriptedPolicy, SpokenFact

LOOKUP = ToolCall(name="lookup", arguments={"email": "anna@example.com"})
CLOSE = ToolCall(name="close")
QUESTION = "What is your email?"


def said(*messages: Message, email: SpokenFact | None = None, first_must_succeed: bool = True) -> Message:
    """What a policy with the moves lookup and close says after these messages."""
    fact = email or SpokenFact(values=("anna@example.com",), question=QUESTION, is_volunteered=True)
    moves = (Move(call=LOOKUP, spoken={"email": fact}, must_succeed=first_must_succeed), Move(call=CLOSE))
    policy = ScriptedPolicy(lambda conversation_id: Script(moves=moves, last_words="Bye."))
    conversation = Conversation(conversation_id="c", messages=(user("Hello"), *messages), tools=(), now=datetime(2025, 1, 1))
    return policy.act(conversation).message


def made(call: ToolCall, result: object) -> tuple[Message, Message]:
    return assistant("", call), tool_result(call, result)


def test_moves_are_made_in_order_and_words_follow() -> None:
    assert said() == assistant("", LOOKUP)
    assert said(*made(LOOKUP, {"id": 1})) == assistant("", CLOSE)
    assert said(*made(LOOKUP, {"id": 1}), *made(CLOSE, {})) == assistant("Bye.")


def test_what_the_customer_has_not_told_is_asked_first() -> None:
    withheld = SpokenFact(values=("anna@example.com",), question=QUESTION, is_volunteered=False)
    assert said(email=withheld) == assistant(QUESTION)
    assert said(assistant(QUESTION), user("anna@example.com"), email=withheld) == assistant("", LOOKUP)


def test_a_failed_call_is_made_again() -> None:
    assert said(*made(LOOKUP, {"error": "timeout"})) == assistant("", LOOKUP)


def test_a_failed_call_with_what_may_be_a_mistake_is_asked_about() -> None:
    mistaken = SpokenFact(values=("ana@example.com", "anna@example.com"), question=QUESTION, is_volunteered=True)
    wrong = ToolCall(name="lookup", arguments={"email": "ana@example.com"})
    assert said(email=mistaken) == assistant("", wrong)
    assert said(*made(wrong, {"error": "none"}), email=mistaken) == assistant(QUESTION)
    assert said(*made(wrong, {"error": "none"}), assistant(QUESTION), email=mistaken) == assistant("", LOOKUP)


def test_a_slip_is_made_once_even_when_it_fails() -> None:
    assert said(*made(LOOKUP, {"error": "none"}), first_must_succeed=False) == assistant("", CLOSE)
