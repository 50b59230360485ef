"""What the gate asks of regression cases."""

from agentgym.evaluation.evaluate import assemble_report
from agentgym.evaluation.promotion import PromotionCriteria, decide_promotion
from agentgym.evaluation.regressions import RegressionReport, RegressionResult, play_regressions
from agentgym.verdicts import CaseRow, Check, EvaluationReport, Measure, PromotionDecision, Subject

PLAY = PromotionCriteria.for_evidence("play")


def report(name: str, right: int) -> EvaluationReport:
    rows = [
        CaseRow(
            case_id=f"case-{number}",
            kind="any",
            cluster_id=f"customer-{number}",
            measures={"tool_reliability": Measure(numerator=right + number % 2, denominator=10)},
        )
        for number in range(80)
    ]
    subject = Subject(name=name, checkpoint_digest=name)
    return assemble_report("play", rows, [], subject=subject, scenario="toy", case_set="c", seed=1)


def past(name: str, **passed: bool) -> RegressionReport:
    results = tuple(
        RegressionResult(regression_id=case, what=f"what {case} was", is_passed=is_passed) for case, is_passed in passed.items()
    )
    return RegressionReport(subject=Subject(name=name, checkpoint_digest=name), results=results)


def decide(challenger: RegressionReport | None, champion: RegressionReport | None) -> PromotionDecision:
    return decide_promotion(report("new", 8), report("old", 6), PLAY, regressions=challenger, champion_regressions=champion)


def check(decision: PromotionDecision) -> Check:
    return next(check for check in decision.checks if check.name == "regressions")


def test_what_the_champion_passes_the_challenger_must_pass() -> None:
    decision = decide(past("new", a=True, b=False), past("old", a=True, b=True))
    assert decision.verdict == "refuse"
    assert decision.reasons[0] == "failed: The challenger fails 1 of the 2 regression cases that old passes, of 2: b (what b was)."


def test_what_both_fail_stands_against_nobody_and_what_is_solved_is_named() -> None:
    decision = decide(past("new", a=True, b=False, c=True), past("old", a=True, b=False, c=False))
    assert decision.promote
    assert check(decision).statement == (
        "The challenger passes all 1 regression cases that old passes, of 3. It also solves what the champion fails: c (what c was)."
    )


def test_without_a_champion_every_case_must_be_passed() -> None:
    decision = decide_promotion(report("new", 8), None, PLAY, regressions=past("new", a=True, b=False))
    assert check(decision).outcome == "failed"
    assert "1 of the 2 regression cases there are" in check(decision).statement


def test_an_empty_set_changes_no_decision() -> None:
    assert decide(None, None).digest == decide_promotion(report("new", 8), report("old", 6), PLAY).digest
    assert play_regressions(None, [], subject=Subject(name="new", checkpoint_digest="new"), seed=0) is None  # type: ignore[arg-type]
