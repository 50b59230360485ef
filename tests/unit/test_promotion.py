"""The offline gate: what it asks, what it answers, and that every answer is kept."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from agentgym.errors import InvalidInput
from agentgym.evaluation.evaluate import assemble_report
from agentgym.evaluation.promotion import PromotionCriteria, decide_promotion
from agentgym.verdicts import CaseRow, Check, EvaluationReport, Failure, Measure, PromotionDecision, Subject

PLAY = PromotionCriteria.for_evidence("play")
Right = Callable[[int], int]


def row(number: int, right: int, tokens: float, kind: str) -> CaseRow:
    measures = {
        "tool_reliability": Measure(numerator=right, denominator=10),
        "success_rate": Measure(numerator=float(right > 5)),
        "agent_tokens": Measure(numerator=tokens),
    }
    return CaseRow(case_id=f"case-{number}", kind=kind, cluster_id=f"customer-{number}", measures=measures)


def report(
    name: str, right: Right, *, cases: int = 80, tokens: float = 100, case_set: str = "c", failures: int = 0, kinds: int = 2
) -> EvaluationReport:
    """Right calls of 10 by case; cases take turns between the kinds kind-0, kind-1, …"""
    rows = [row(number, right(number), tokens + number % 5, f"kind-{number % kinds}") for number in range(cases)]
    crashes = [Failure(case_id=f"crash-{number}", error="ValueError: no") for number in range(failures)]
    subject = Subject(name=name, checkpoint_digest=name)
    return assemble_report("play", rows, crashes, subject=subject, scenario="toy", case_set=case_set, seed=1)


def seven_of_ten(number: int) -> int:
    return 6 + number % 3


def nine_of_ten(number: int) -> int:
    return 8 + number % 3


def check(decision: PromotionDecision, name: str) -> Check:
    return next(check for check in decision.checks if check.name == name)


def test_a_proven_gain_without_harm_promotes_and_keeps_every_reason() -> None:
    decision = decide_promotion(report("new", nine_of_ten), report("old", seven_of_ten), PLAY)
    assert decision.promote
    assert {check.name for check in decision.checks} >= {"failures", "cases", "gain:tool_reliability", "slice:kind-0", "slice:kind-1"}
    assert len(decision.reasons) == len(decision.checks)
    assert "0.699 to 0.899: a gain of +0.200" in check(decision, "gain:tool_reliability").statement


def test_the_same_reports_give_the_same_decision() -> None:
    champion, challenger = report("old", seven_of_ten), report("new", nine_of_ten)
    assert decide_promotion(challenger, champion, PLAY).digest == decide_promotion(challenger, champion, PLAY).digest


def test_a_loss_is_refused() -> None:
    decision = decide_promotion(report("new", seven_of_ten), report("old", nine_of_ten), PLAY)
    assert decision.verdict == "refuse"
    assert decision.reasons[0].startswith("failed: tool_reliability went from")


def test_a_gain_that_may_be_chance_is_neither_yes_nor_no() -> None:
    champion = report("old", lambda number: 6 + number % 4)
    decision = decide_promotion(report("new", lambda number: 6 + (number * 7) % 4 + (number % 8 == 0)), champion, PLAY)
    assert "a gain of +0.012" in check(decision, "gain:tool_reliability").statement
    assert check(decision, "gain:tool_reliability").outcome == "inconclusive"
    assert decision.verdict == "inconclusive"
    assert not decision.promote


def test_a_gain_below_the_minimal_one_is_refused() -> None:
    criteria = PLAY.model_copy(update={"minimal_gain": 0.3})
    decision = decide_promotion(report("new", nine_of_ten), report("old", seven_of_ten), criteria)
    assert check(decision, "gain:tool_reliability").outcome == "failed"


def test_promotion_is_refused_when_case_sets_differ() -> None:
    decision = decide_promotion(report("new", nine_of_ten), report("old", seven_of_ten, case_set="d"), PLAY)
    assert decision.verdict == "refuse"
    assert check(decision, "cases").statement.startswith("Champion and challenger must cover the same cases")
    assert "gain:tool_reliability" not in {check.name for check in decision.checks}


def test_few_customers_decide_nothing() -> None:
    decision = decide_promotion(report("new", nine_of_ten, cases=12), report("old", seven_of_ten, cases=12), PLAY)
    assert "at least 20 decide" in check(decision, "gain:tool_reliability").statement
    assert decision.verdict == "inconclusive"


def test_a_gain_paid_for_with_tokens_is_refused() -> None:
    decision = decide_promotion(report("new", nine_of_ten, tokens=170), report("old", seven_of_ten), PLAY)
    assert check(decision, "guardrail:agent_tokens").outcome == "failed"
    assert decision.verdict == "refuse"


def test_fewer_tokens_are_a_change_for_the_better() -> None:
    decision = decide_promotion(report("new", nine_of_ten, tokens=70), report("old", seven_of_ten), PLAY)
    difference = check(decision, "guardrail:agent_tokens").difference
    assert difference is not None
    assert difference.mean == pytest.approx(30)


def test_a_gain_that_harms_one_kind_of_case_is_refused() -> None:
    challenger = report("new", lambda number: 10 if number % 2 else 5, cases=400)
    decision = decide_promotion(challenger, report("old", seven_of_ten, cases=400), PLAY)
    assert check(decision, "gain:tool_reliability").outcome == "passed"
    assert check(decision, "slice:kind-0").outcome == "failed"


@pytest.mark.parametrize(("right", "outcome"), [(6, "passed"), (5, "failed")])
def test_a_small_kind_is_judged_by_its_mean(right: int, outcome: str) -> None:
    """10 of 80 cases are of kind-0; the champion has 6.5 of 10 right in them on average."""
    champion = report("old", lambda number: 6 + (number // 8) % 2, kinds=8)
    challenger = report("new", lambda number: 10 if number % 8 else right, kinds=8)
    decision = decide_promotion(challenger, champion, PLAY)
    assert check(decision, "slice:kind-0").outcome == outcome
    assert "on only 10 customers" in check(decision, "slice:kind-0").statement


def test_crashes_are_bounded() -> None:
    decision = decide_promotion(report("new", nine_of_ten, failures=4), report("old", seven_of_ten), PLAY)
    assert check(decision, "failures").outcome == "failed"
    assert "4 of 84 episodes crashed (4.8%)" in check(decision, "failures").statement


@pytest.mark.parametrize(("right", "verdict"), [(8, "promote"), (2, "refuse"), (5, "inconclusive")])
def test_without_a_champion_the_floor_decides(right: int, verdict: str) -> None:
    decision = decide_promotion(report("new", lambda number: right + number % 2 - (number % 4 == 0)), None, PLAY)
    assert decision.champion is None
    assert decision.verdict == verdict


def test_a_challenger_without_the_metric_fails_its_guardrail() -> None:
    champion, challenger = (talker("old", predicted=1), talker("new", predicted=0))
    decision = decide_promotion(challenger, champion, PromotionCriteria.for_evidence("next_call"))
    assert check(decision, "guardrail:precision").statement == "precision is undefined for the challenger; the champion's is 1.000."
    assert decision.verdict == "refuse"


def talker(name: str, predicted: int) -> EvaluationReport:
    measures = {
        "reliability": Measure(numerator=predicted),
        "precision": Measure(numerator=predicted, denominator=predicted),
        "exact_call": Measure(numerator=predicted),
    }
    rows = [CaseRow(case_id=str(number), kind="seen", cluster_id=str(number), measures=measures) for number in range(40)]
    subject = Subject(name=name, checkpoint_digest=name)
    return assemble_report("next_call", rows, [], subject=subject, scenario="recorded", case_set="c", seed=0)


def test_reports_on_different_evidence_cannot_be_compared() -> None:
    with pytest.raises(InvalidInput, match="same evidence"):
        decide_promotion(report("new", nine_of_ten), talker("old", predicted=1), PLAY)


def test_criteria_name_known_metrics() -> None:
    with pytest.raises(ValidationError, match="accuracy"):
        PromotionCriteria(primary_metric="accuracy", floors={"accuracy": 0.5})


def test_a_decision_survives_its_json() -> None:
    decision = decide_promotion(report("new", nine_of_ten), report("old", seven_of_ten), PLAY)
    again = PromotionDecision.model_validate_json(decision.model_dump_json())
    assert (again, again.digest) == (decision, decision.digest)
