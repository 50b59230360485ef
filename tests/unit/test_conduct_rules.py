"""What an agent must and must not say and call, checked on what it said and called."""

import pytest
from pydantic import ValidationError

from agentgym.environments.declaration import World
from agentgym.messages import Message, ToolCall, assistant, tool_result, user
from agentgym.reward import ConductRule, broken_rules
from agentgym.scenarios.registry import load_world

CHECK, REFUND = ToolCall(name="check_payment"), ToolCall(name="refund")
NO_PROMISE = ConductRule(name="no promise", never_says=r"\brefund is approved", until="check_payment")
CHECK_FIRST = ConductRule(name="check first", never_calls="refund", until="check_payment")
HOW_LONG = ConductRule(name="how long", says="working days", once="refund")
GREETS = ConductRule(name="greets", says=r"^(hello|hi)\b")


def called(call: ToolCall, result: object = "ok") -> tuple[Message, ...]:
    return assistant("", call), tool_result(call, result)


def test_a_promise_before_the_check_breaks_the_rule_and_after_it_does_not() -> None:
    promise = assistant("Your REFUND is approved.")
    assert NO_PROMISE.is_broken_by((user("Hi"), promise, *called(CHECK)))
    assert not NO_PROMISE.is_broken_by((user("Hi"), *called(CHECK), promise))


def test_a_check_that_failed_is_no_check() -> None:
    assert CHECK_FIRST.is_broken_by((*called(CHECK, {"error": "timeout"}), *called(REFUND)))
    assert not CHECK_FIRST.is_broken_by((*called(CHECK), *called(REFUND)))


def test_calls_in_one_message_are_made_before_any_of_them_is_answered() -> None:
    both = (assistant("", CHECK, REFUND), tool_result(CHECK, "ok"), tool_result(REFUND, "ok"))
    assert CHECK_FIRST.is_broken_by(both)


def test_what_must_follow_a_call_binds_only_where_it_was_made() -> None:
    assert not HOW_LONG.is_broken_by((user("Hi"), assistant("Bye.")))
    assert HOW_LONG.is_broken_by((assistant("It takes three working days."), *called(REFUND), assistant("Bye.")))
    assert not HOW_LONG.is_broken_by((*called(REFUND), assistant("It takes three working days.")))


def test_only_the_agents_words_are_held_to_a_rule() -> None:
    assert not NO_PROMISE.is_broken_by((user("You said my refund is approved!"), assistant("Let me check.")))
    assert GREETS.is_broken_by((user("Hello"), assistant("What?")))
    assert not GREETS.is_broken_by((user("Hello"),))


def test_broken_rules_are_named_in_their_order() -> None:
    conversation = (user("Hi"), assistant("Your refund is approved."), *called(REFUND))
    assert broken_rules([GREETS, HOW_LONG, NO_PROMISE], conversation) == ("greets", "how long", "no promise")


def test_a_world_declares_rules_about_tools_it_has() -> None:
    world = load_world("customer_support").world.model_dump(by_alias=True)
    rules = [{"name": "check first", "never_calls": "refund", "until": "check_payment"}]
    declared = World.model_validate({**world, "reward": {"guidelines": 5, "rules": rules}})
    assert declared.reward.rules[0].until == "check_payment"
    rules[0]["until"] = "check_paymant"
    with pytest.raises(ValidationError, match="rule 'check first' names the tool 'check_paymant', which the world does not declare"):
        World.model_validate({**world, "reward": {"guidelines": 5, "rules": rules}})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "one demand"),
        ({"says": "a", "calls": "b"}, "one demand"),
        ({"says": "("}, "regular expression"),
        ({"says": "a", "until": "b"}, "takes once"),
        ({"never_calls": "a", "once": "b"}, "takes until"),
    ],
)
def test_a_rule_that_cannot_be_checked_is_refused(fields: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ConductRule.model_validate({"name": "r", **fields})
