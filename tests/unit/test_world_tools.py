from dataclasses import dataclass

import pytest

from agentgym.environments.case import Case
from agentgym.environments.world import TIMEOUT, WorldTools
from agentgym.episode import JudgedCall, Outcome
from agentgym.errors import InvalidInput
from agentgym.messages import ToolCall
from agentgym.scenarios import ScenarioRegistry, WorldScenario

SCENARIO = ScenarioRegistry().load("customer_support")
assert isinstance(SCENARIO, WorldScenario)


def a_case(kind: str, *names: str) -> Case:
    """The first case of this kind whose right solution calls these tools, without a mistake of the customer."""
    cases = (SCENARIO.case(kind=kind, customer="CUS-00001", number=number) for number in range(1000))
    return next(case for case in cases if [call.name for call in case.expected_calls] == [*names] and not case.facts["email_at_first"])


WITHIN_RULES = a_case("refund_request", "lookup_user", "check_payment", "refund", "send_email", "close_ticket")
BY_PASSWORD = a_case("password_reset", "lookup_user", "send_reset_link", "close_ticket")


@dataclass
class Desk:
    """The tools of a case, called through the retry that a time-out needs."""

    case: Case

    def __post_init__(self) -> None:
        self.tools = WorldTools(SCENARIO.world)
        self.tools.open(self.case)

    def make(self, call: ToolCall) -> JudgedCall:
        judged = self.tools.judge(call)
        if self.tools.execute(call).result == {"error": TIMEOUT}:
            self.tools.execute(call)
        return judged

    def expected(self, name: str) -> ToolCall:
        return next(call for call in self.case.expected_calls if call.name == name)

    def make_expected(self, *names: str) -> None:
        for name in names:
            assert self.make(self.expected(name)).is_correct


def test_the_required_calls_are_right_and_resolve_the_case() -> None:
    desk = Desk(WITHIN_RULES)
    desk.make_expected("lookup_user", "check_payment", "refund", "send_email", "close_ticket")
    assert desk.tools.outcome(has_abandoned=False) is Outcome.RESOLVED
    assert desk.tools.missing_calls() == ()


def test_touching_an_account_before_identification_is_wrong() -> None:
    desk = Desk(BY_PASSWORD)
    assert "identify_first" in desk.make(desk.expected("send_reset_link")).reason


def test_a_call_is_right_once() -> None:
    desk = Desk(BY_PASSWORD)
    desk.make_expected("lookup_user")
    assert "already done" in desk.make(desk.expected("lookup_user")).reason


def test_an_invented_id_is_the_right_tool_with_wrong_arguments() -> None:
    desk = Desk(BY_PASSWORD)
    desk.make_expected("lookup_user")
    judged = desk.make(ToolCall(name="send_reset_link", arguments={"user_id": "USR-1"}))
    assert judged.is_right_tool
    assert "arguments" in judged.reason


def test_a_tool_the_case_does_not_need_is_wrong() -> None:
    desk = Desk(BY_PASSWORD)
    desk.make_expected("lookup_user")
    judged = desk.make(ToolCall(name="search_kb", arguments={"topic": "billing"}))
    assert (judged.is_correct, judged.is_right_tool) == (False, False)


def test_closing_before_the_work_is_done_is_wrong_and_leaves_the_case_unresolved() -> None:
    desk = Desk(BY_PASSWORD)
    desk.make_expected("lookup_user")
    assert "close_last" in desk.make(desk.expected("close_ticket")).reason
    assert desk.tools.is_closed
    assert desk.tools.outcome(has_abandoned=False) is Outcome.UNRESOLVED
    assert desk.tools.missing_calls() == ("send_reset_link",)


def test_an_effect_nobody_asked_for_spoils_the_outcome() -> None:
    case = a_case("api_integration", "lookup_user", "check_logs", "create_api_key", "send_email", "close_ticket")
    desk = Desk(case)
    desk.make_expected("lookup_user", "check_logs", "create_api_key")
    desk.make(ToolCall(name="create_api_key", arguments=desk.expected("create_api_key").arguments | {"scope": "admin"}))
    desk.make_expected("send_email", "close_ticket")
    assert desk.tools.outcome(has_abandoned=False) is Outcome.UNRESOLVED


def test_a_required_call_that_fails_is_still_missing() -> None:
    desk = Desk(WITHIN_RULES)
    desk.make_expected("lookup_user", "check_payment")
    refund = desk.expected("refund")
    desk.make(ToolCall(name="refund", arguments=refund.arguments | {"amount": 1.0}))
    assert desk.tools.execute(refund).result == {"error": f"{refund.arguments['payment_id']} was already refunded."}
    assert "refund" in desk.tools.missing_calls()


def test_a_required_look_that_was_left_out_is_a_failure_though_the_database_is_right() -> None:
    desk = Desk(BY_PASSWORD)
    for name in ("send_reset_link", "close_ticket"):
        desk.make(desk.expected(name))
    assert desk.tools.missing_calls() == ("lookup_user",)
    assert desk.tools.outcome(has_abandoned=False) is Outcome.UNRESOLVED


def test_a_refund_outside_the_window_breaks_a_guideline_and_escalation_is_right() -> None:
    cases = (SCENARIO.case(kind="refund_request", customer="CUS-00002", number=number) for number in range(200))
    case = next(case for case in cases if case.expected_calls[-1].arguments.get("reason") == "refund_window_passed")
    desk, payment = Desk(case), case.initial_state["payments"][0]
    desk.make_expected("lookup_user", "check_payment")
    refund = {"payment_id": payment["payment_id"], "amount": payment["amount"], "reason": "wrong_plan"}
    assert "refund_window" in desk.tools.judge(ToolCall(name="refund", arguments=refund)).reason
    desk.make_expected("escalate")
    assert desk.tools.outcome(has_abandoned=False) is Outcome.ESCALATED


def test_the_same_call_is_right_again_after_a_timeout() -> None:
    desks = (Desk(SCENARIO.case(kind="password_reset", customer="CUS-00003", number=number)) for number in range(500))
    desk = next(desk for desk in desks if desk.tools.execute(desk.expected("lookup_user")).result == {"error": TIMEOUT})
    assert desk.tools.judge(desk.expected("lookup_user")).is_correct
    assert desk.tools.execute(desk.expected("lookup_user")).result != {"error": TIMEOUT}


def test_a_timeout_takes_longer_than_an_answer() -> None:
    desks = [Desk(SCENARIO.case(kind="password_reset", customer="CUS-00003", number=number)) for number in range(300)]
    answers = [desk.tools.execute(desk.expected("lookup_user")) for desk in desks]
    assert min(answer.seconds for answer in answers if answer.result == {"error": TIMEOUT}) > max(
        answer.seconds for answer in answers if answer.result != {"error": TIMEOUT}
    )


def test_what_the_customer_mistyped_may_be_tried_once_and_identifies_nobody() -> None:
    mistaken = BY_PASSWORD.model_copy(update={"facts": BY_PASSWORD.facts | {"email_at_first": "wrong@example.com"}})
    desk = Desk(mistaken)
    wrong = ToolCall(name="lookup_user", arguments={"email": "wrong@example.com"})
    assert desk.make(wrong).is_correct
    assert not desk.make(wrong).is_correct
    assert "identify_first" in desk.tools.judge(desk.expected("send_reset_link")).reason


def test_equal_histories_have_equal_hashes_and_a_write_changes_them() -> None:
    desks = [Desk(BY_PASSWORD), Desk(BY_PASSWORD)]
    for desk in desks:
        desk.make_expected("lookup_user")
    assert desks[0].tools.state_hash() == desks[1].tools.state_hash()
    for desk, priority in zip(desks, ("high", "urgent"), strict=True):
        desk.make(
            ToolCall(
                name="update_ticket", arguments={"ticket_id": BY_PASSWORD.initial_state["tickets"][0]["ticket_id"], "priority": priority}
            )
        )
    assert desks[0].tools.state_hash() != desks[1].tools.state_hash()


def test_annoyances_cost_satisfaction_down_to_the_lowest_score() -> None:
    tools = Desk(BY_PASSWORD).tools
    assert [tools.satisfaction_score(outcome=Outcome.RESOLVED, annoyances=count) for count in (0, 1, 2)] == [5.0, 4.5, 4.0]
    assert tools.satisfaction_score(outcome=Outcome.ABANDONED, annoyances=9) == 1.0


def test_a_case_of_another_scenario_is_refused() -> None:
    with pytest.raises(InvalidInput, match="lending_library"):
        Desk(BY_PASSWORD.model_copy(update={"scenario": "lending_library"}))
