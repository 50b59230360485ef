"""By which rules a run has converged, and its policy is ready for customers."""

from collections.abc import Mapping, Sequence

import numpy as np

from agentgym.evaluation.promotion import PromotionCriteria
from agentgym.training.result import IterationMetrics, Readiness
from agentgym.verdicts import Check, CheckOutcome, EvaluationReport

WINDOW = 10
FEWEST_ITERATIONS = 2 * WINDOW
# Which cases an iteration draws moves the mean of ten by up to 0.04 although nothing is learned.
TOLERANCE = 0.05


def convergence_episode(curve: Sequence[IterationMetrics]) -> int | None:
    """Episodes played when tool reliability came to rest; None when it did not.

    It rests from the first iteration on from which its mean over the last 10 iterations stays within 0.05 of where it ended, which is its
    mean over the last tenth of the run and at least 10 iterations. A run of fewer than 20 iterations, or one that was still moving when
    its last fifth began, has not come to rest.
    """
    count = len(curve)
    if count < FEWEST_ITERATIONS:
        return None
    reliability = np.array([metrics.tool_reliability for metrics in curve])
    end = reliability[-max(WINDOW, count // 10) :].mean()
    recent = np.convolve(reliability, np.full(WINDOW, 1 / WINDOW), mode="valid")
    moving = np.flatnonzero(np.abs(recent - end) > TOLERANCE)
    # `recent[k]` is the mean up to iteration WINDOW + k.
    rests_from = WINDOW + (int(moving[-1]) + 1 if len(moving) else 0)
    if rests_from > count - count // 5:
        return None
    return sum(metrics.rollouts for metrics in curve[:rests_from])


def readiness_checks(report: EvaluationReport, criteria: Mapping[str, float]) -> tuple[Check, ...]:
    """One check for each criterion of the scenario, and one for crashes.

    A criterion is met when the lower end of the metric's interval reaches it; inconclusive when only the mean does, for then other
    customers might not be served as well; failed otherwise.
    """
    return (*(_check(report, name, threshold) for name, threshold in criteria.items()), _crashes(report))


def readiness(checks: Sequence[Check]) -> Readiness:
    """`ready` when every check passed, `not_ready` when one failed, else `not_shown`: more held-out cases may show it."""
    outcomes = {check.outcome for check in checks}
    if "failed" in outcomes:
        return "not_ready"
    return "not_shown" if "inconclusive" in outcomes else "ready"


def _check(report: EvaluationReport, name: str, threshold: float) -> Check:
    estimate = report.estimates.get(name)
    if estimate is None:
        return Check(name=name, outcome="inconclusive", statement=f"{name} is undefined on these cases; {threshold:.0%} is needed.")
    outcome: CheckOutcome = "passed" if estimate.low >= threshold else "inconclusive" if estimate.mean >= threshold else "failed"
    statement = (
        f"{name} is {estimate.mean:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]; {threshold:.0%} is needed, by the whole interval."
    )
    return Check(name=name, outcome=outcome, statement=statement)


def _crashes(report: EvaluationReport) -> Check:
    most = PromotionCriteria.for_evidence(report.evidence).max_failure_share
    outcome: CheckOutcome = "passed" if report.failure_share <= most else "failed"
    return Check(
        name="failures",
        outcome=outcome,
        statement=f"{len(report.failures)} of {report.episodes} episodes crashed; at most {most:.1%} may.",
    )
