"""When a run has converged, and when a policy is ready for customers."""

import numpy as np
import pytest

from agentgym.statistics import Estimate
from agentgym.training.conclusion import convergence_episode, readiness, readiness_checks
from agentgym.training.result import IterationMetrics
from agentgym.verdicts import CaseRow, Check, EvaluationReport, Failure, Subject

ROLLOUTS = 8


def curve(reliabilities):
    seconds = {"sampling_seconds": 0.1, "learning_seconds": 0.1, "syncing_seconds": 0.1}
    played = {"reward": 1.0, "success_rate": 0.5, "agent_tokens": 100.0, "simulated_seconds": 2.0, "rollouts": ROLLOUTS, "crashes": 0}
    return [
        IterationMetrics(iteration=number, tool_reliability=reliability, decisions=1, **played, **seconds)
        for number, reliability in enumerate(reliabilities, start=1)
    ]


def report(*, low=0.96, mean=0.97, failures=0):
    estimate = Estimate(mean=mean, standard_error=0.01, low=low, high=0.99, clusters=50)
    return EvaluationReport(
        evidence="play",
        subject=Subject(name="after", checkpoint_digest="a"),
        scenario="customer_support",
        case_set_digest="b",
        seed=0,
        estimates={"tool_reliability": estimate},
        slices={},
        failures=tuple(Failure(case_id=f"f{number}", error="KeyError: 'x'") for number in range(failures)),
        rows=tuple(CaseRow(case_id=f"c{number}", kind="k", cluster_id=f"u{number}", measures={}) for number in range(97)),
    )


def test_a_run_converges_where_the_mean_of_ten_comes_to_rest_at_its_end():
    """It is 0.5 for 10 iterations, then 0.9. The mean of ten is 0.9 - 0.04 × (low ones among them): within 0.05 with one of them left."""
    assert convergence_episode(curve([*[0.5] * 10, *[0.9] * 40])) == 19 * ROLLOUTS


def test_a_level_run_has_converged_when_it_is_first_seen_whole():
    assert convergence_episode(curve([0.9] * 40)) == 10 * ROLLOUTS


def test_a_run_that_still_climbs_has_not_converged():
    assert convergence_episode(curve(np.linspace(0.1, 0.95, 40))) is None


def test_a_collapse_in_the_last_fifth_is_no_convergence():
    assert convergence_episode(curve([*[0.9] * 34, *[0.5] * 6])) is None


def test_a_short_run_has_not_converged():
    assert convergence_episode(curve([0.9] * 19)) is None
    assert convergence_episode([]) is None


@pytest.mark.parametrize(
    ("low", "mean", "outcome", "concluded"),
    [(0.95, 0.97, "passed", "ready"), (0.94, 0.97, "inconclusive", "not_shown"), (0.90, 0.94, "failed", "not_ready")],
)
def test_a_criterion_is_met_by_the_lower_end_of_the_interval(low, mean, outcome, concluded):
    checks = readiness_checks(report(low=low, mean=mean), {"tool_reliability": 0.95})
    assert [check.outcome for check in checks] == [outcome, "passed"]
    assert readiness(checks) == concluded
    assert "95% is needed" in checks[0].statement


def test_a_criterion_that_is_undefined_is_not_met():
    checks = readiness_checks(report(), {"time_saving": 0.98})
    assert readiness(checks) == "not_shown"


def test_crashes_beyond_two_in_a_hundred_make_it_not_ready():
    checks = readiness_checks(report(failures=3), {"tool_reliability": 0.95})
    assert readiness(checks) == "not_ready"
    assert checks[-1].statement == "3 of 100 episodes crashed; at most 2.0% may."


def test_one_failed_check_outweighs_one_that_is_open():
    failed, open_, passed = (Check(name="n", outcome=outcome, statement="s") for outcome in ("failed", "inconclusive", "passed"))
    assert readiness([passed, open_, failed]) == "not_ready"
    assert readiness([passed, open_]) == "not_shown"
    assert readiness([passed]) == "ready"
