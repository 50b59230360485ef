"""Whether good agents are paid more than bad ones, and what is said where that cannot be told."""

import pytest

from agentgym.episode import Outcome
from agentgym.messages import ToolCall, assistant, tool_result, user
from agentgym.scenarios.fidelity import FidelityBar, FidelityReport, measure_fidelity, measure_world
from agentgym.scenarios.fidelity.bar import judge_ranks
from agentgym.scenarios.fidelity.figures import Figure
from agentgym.scenarios.fidelity.whole import (
    PaidAgent,
    are_about_the_same,
    environment_for_others,
    paid_in_other_records,
    rank_fidelity,
    replay,
)
from agentgym.scenarios.from_traces import RECORDED_REWARD, RecordedScenario, make_recorded_pack
from agentgym.scenarios.lookup import Lookup
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.production_log import write_logs
from agentgym.traces.trace import Trace


def trial(customer: int, number: int, *, is_good: bool, city: str = "") -> Trace:
    """A customer wants one thing, and tries it more than once; a bad agent looks up something else."""
    find = ToolCall(
        name="find", arguments={"city": city or (f"city {customer}" if is_good else "elsewhere"), "kind": f"{number if not is_good else 0}"}
    )
    return Trace(
        conversation_id=f"{customer}/{number}",
        customer_id=f"customer {customer}",
        outcome=Outcome.RESOLVED if is_good else Outcome.UNRESOLVED,
        messages=(user(f"Find city {customer} for me."), assistant("", find), tool_result(find, {"found": customer}), assistant("There.")),
    )


def pack_of(customers: range) -> ScenarioPack:
    held_out = [trial(customer, number, is_good=number < 2) for customer in customers for number in range(3)]
    return make_recorded_pack([trial(99, 0, is_good=True)], held_out, "digest")


def paid(pack: ScenarioPack) -> list[PaidAgent]:
    cases = [(case.recording, case) for case in pack.held_out if case.recording]
    return list(paid_in_other_records(environment_for_others(pack), cases, seed=0))


def test_an_agent_is_paid_in_the_record_of_another_who_did_well() -> None:
    """A good one makes the only call due, +10 and +10 for the outcome. A bad one makes it wrongly: -20 over two calls due, and -5."""
    assert [agent.reward for agent in paid(pack_of(range(1)))] == [20.0, 20.0, -10.0 - 5.0]
    assert (RECORDED_REWARD.resolved, RECORDED_REWARD.wrong_call, RECORDED_REWARD.unresolved) == (10.0, -20.0, -5.0)


def test_an_agent_that_goes_about_it_otherwise_is_judged_to_its_end() -> None:
    """It asks a question that the record does not: the recorded customer would be gone."""
    direct = trial(0, 0, is_good=True)
    asking = trial(0, 1, is_good=True)
    first, *rest = asking.messages
    asking = asking.model_copy(update={"messages": (first, assistant("Which city, please?"), user("City 0, as I said."), *rest)})
    pack = make_recorded_pack([trial(99, 0, is_good=True)], [direct, asking], "digest")
    assert [agent.reward for agent in paid(pack)] == [20.0, 20.0]
    recorded = RecordedScenario(pack).create_environment()
    assert replay(recorded, pack.held_out[0], asking, seed=0).reward < 0


def test_good_agents_paid_more_pass_and_paid_less_fail() -> None:
    """Two good agents and a bad one of each of 20 customers; both measures have two values, and put them in one order."""
    agents = paid(pack_of(range(20)))
    right = rank_fidelity("outcome", agents, missing="")
    wrong = rank_fidelity("outcome", [PaidAgent(trace=agent.trace, reward=-agent.reward) for agent in agents], missing="")
    assert (right.kendall.mean, right.spearman.mean, right.within.mean) == pytest.approx((1.0, 1.0, 1.0))
    assert (right.reward_of_good, right.reward_of_bad) == (20.0, -15.0)
    assert [next(iter(judge_ranks(ranks, FidelityBar()))).outcome for ranks in (right, wrong)] == ["passed", "failed"]


def test_a_situation_recorded_once_shows_nothing() -> None:
    report = measure_fidelity(
        pack_of(range(1)).model_copy(update={"held_out": pack_of(range(30)).held_out[::3]}), [trial(n, 0, is_good=True) for n in range(30)]
    )
    assert report.ranks[0].kendall.estimate is None
    assert "No situation was recorded twice" in report.ranks[0].kendall.reason


def test_one_outcome_alone_is_no_order_and_never_zero() -> None:
    agents = [PaidAgent(trace=trial(number, 0, is_good=True), reward=float(number)) for number in range(30)]
    ranks = rank_fidelity("outcome", agents, missing="")
    assert (ranks.kendall.estimate, ranks.reward_of_bad) == (None, None)
    check = next(iter(judge_ranks(ranks, FidelityBar())))
    assert (check.outcome, "two values on each side" in check.statement) == ("not_measured", True)


def test_scores_that_the_log_does_not_have_are_not_measured() -> None:
    assert "knows no satisfaction" in rank_fidelity("satisfaction", paid(pack_of(range(3))), missing="").kendall.reason


def test_few_customers_tell_no_order_whatever_it_is() -> None:
    check = next(iter(judge_ranks(rank_fidelity("outcome", paid(pack_of(range(19))), missing=""), FidelityBar())))
    assert (check.outcome, "of 19 customers" in check.statement) == ("not_measured", True)


def test_conversations_are_about_the_same_by_customer_and_words() -> None:
    assert are_about_the_same(trial(1, 0, is_good=True), trial(1, 1, is_good=False))
    assert not are_about_the_same(trial(1, 0, is_good=True), trial(2, 0, is_good=True))
    other = trial(1, 0, is_good=True).model_copy(update={"messages": (user("My parcel is lost, what now?"), assistant("Sorry."))})
    assert not are_about_the_same(trial(1, 0, is_good=True), other)


def test_a_report_survives_its_way_through_json_and_its_verdict_follows_from_it() -> None:
    world = Lookup()
    report = measure_world(world, list(write_logs(world, world.legacy_agent(), 200, 5)))
    assert FidelityReport.model_validate_json(report.model_dump_json()) == report
    assert report.verdict == "passed"
    without_tools = report.model_copy(update={"checks": tuple(check for check in report.checks if check.part != "tool")})
    assert {check.outcome for check in without_tools.checks} > {"passed"}
    assert without_tools.verdict == "not_measured"
    only_recall = tuple(check for check in report.checks if check.part != "tool" or check.name in ("recall", "arguments"))
    assert report.model_copy(update={"checks": only_recall}).verdict == "not_measured"
    broken = report.checks[0].model_copy(update={"outcome": "failed", "statement": "find_order: it lies.", "repair": "Mend it."})
    worse = report.model_copy(update={"checks": (*report.checks[1:], broken)})
    assert worse.verdict == "failed"
    assert worse.reasons[0] == "failed: find_order: it lies."
    assert "find_order: it lies. Mend it." in worse.refusal


def test_a_figure_is_measured_or_says_why_not() -> None:
    with pytest.raises(ValueError, match="reason why there is none"):
        Figure(observations=0)
