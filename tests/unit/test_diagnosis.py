from collections.abc import Sequence

import numpy as np
import pytest

from agentgym.errors import TrainingCollapsed
from agentgym.training.diagnosis import diagnose, new_findings, require_finite, require_health
from agentgym.training.result import IterationMetrics

LENGTH = 20
STEADY = {
    "reward": 8.0,
    "tool_reliability": 0.7,
    "success_rate": 0.7,
    "agent_tokens": 100.0,
    "simulated_seconds": 10.0,
    "zero_variance_share": 0.3,
    "rollouts": 100,
    "crashes": 0,
    "decisions": 300,
    "entropy": 0.5,
    "kl": 0.1,
    "clip_share": 0.05,
    "max_log_ratio": 0.0,
    "decisions_per_rollout": 5.0,
    "gradient_norm": 0.5,
    "importance_mean": 1.0,
    "sampling_seconds": 1.0,
    "learning_seconds": 1.0,
    "syncing_seconds": 0.0,
}


def curve_of(length: int = LENGTH, **measures: float | Sequence[float]) -> list[IterationMetrics]:
    """A steady run but for `measures`: one value for all iterations, or two ends that the run goes between evenly."""
    columns = {
        name: np.linspace(*given, length) if isinstance(given, tuple) else np.full(length, given) for name, given in measures.items()
    }
    return [
        IterationMetrics.model_validate({**STEADY, **{name: values[step] for name, values in columns.items()}, "iteration": step + 1})
        for step in range(length)
    ]


def kinds(curve: Sequence[IterationMetrics]) -> list[tuple[str, str]]:
    return [(finding.kind, finding.severity) for finding in diagnose(curve)]


def test_a_steady_run_and_an_empty_one_have_nothing_to_tell():
    assert diagnose(curve_of()) == ()
    assert diagnose([]) == ()


def test_a_run_that_learns_well_has_nothing_to_tell():
    learning = {"reward": (5.0, 25.0), "tool_reliability": (0.6, 0.99), "success_rate": (0.5, 0.99), "entropy": (0.6, 0.01)}
    assert diagnose(curve_of(100, **learning, kl=(0.0, 0.6), decisions_per_rollout=(9.0, 4.0), zero_variance_share=(0.2, 0.97))) == ()


def test_noise_alone_is_no_finding():
    """Two hundred runs of 60 iterations that stand still, with the noise of 24 groups: none may be called sick."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        noisy = [
            metrics.model_copy(
                update={
                    "reward": 8.0 + rng.normal(0, 1.0),
                    "success_rate": 0.7 + rng.normal(0, 0.04),
                    "tool_reliability": 0.7 + rng.normal(0, 0.04),
                    "entropy": 0.5 * np.exp(rng.normal(0, 0.1)),
                    "gradient_norm": 0.5 * np.exp(rng.normal(0, 0.5)),
                }
            )
            for metrics in curve_of(60)
        ]
        assert diagnose(noisy) == ()


def test_a_scenario_whose_groups_never_differ_gets_one_clear_message_and_no_other():
    curve = curve_of(3, zero_variance_share=1.0, reward=-5.0, success_rate=0.0, tool_reliability=0.0)
    (finding,) = diagnose(curve)
    assert (finding.kind, finding.severity) == ("no_signal", "collapse")
    assert finding.message.startswith(
        "Rollouts of a case must earn unequal rewards for one to be better than another; in 3 iterations and 300"
    )
    assert "Check that the scenario's reward depends on what the agent does" in finding.message
    assert diagnose(curve[:1]) == ()


def test_groups_that_never_differ_as_all_is_solved_are_no_collapse():
    assert kinds(curve_of(3, zero_variance_share=1.0, success_rate=1.0, tool_reliability=1.0)) == [("nothing_to_learn", "warning")]


def test_a_single_group_that_differed_is_a_signal():
    curve = [*curve_of(1, zero_variance_share=0.99), *curve_of(3, zero_variance_share=1.0)]
    assert ("no_signal", "collapse") not in kinds(curve)


def test_a_failing_policy_whose_groups_stopped_differing_has_collapsed():
    curve = [*curve_of(2, zero_variance_share=0.2), *curve_of(5, zero_variance_share=1.0, success_rate=0.1)]
    assert ("signal_lost", "collapse") in kinds(curve)
    assert ("signal_lost", "collapse") not in kinds(curve[:6])
    solved = [*curve_of(2, zero_variance_share=0.2), *curve_of(5, zero_variance_share=1.0, success_rate=1.0, tool_reliability=1.0)]
    assert kinds(solved) == []


def test_a_policy_that_forgot_half_of_what_it_could_do_has_collapsed():
    curve = curve_of(tool_reliability=(0.8, 0.1), reward=(8.0, -5.0))
    assert kinds(curve) == [("forgetting", "collapse")]
    assert kinds(curve[:10]) == []
    with pytest.raises(TrainingCollapsed, match=r"its tool reliability has fallen to 0\.17 from 0\.73, and began at 0\.73\. Lower"):
        require_health(curve)


def test_a_policy_back_where_it_began_has_not_collapsed():
    rise_and_fall = [*curve_of(10, success_rate=(0.2, 0.8), reward=(0.0, 8.0)), *curve_of(10, success_rate=(0.8, 0.2), reward=(8.0, 0.0))]
    assert kinds(rise_and_fall) == []


def test_a_reward_that_rises_while_the_work_gets_worse_is_a_sign_of_hacking():
    curve = curve_of(reward=(8.0, 16.0), success_rate=(0.8, 0.6))
    assert kinds(curve) == [("reward_hacking", "warning")]
    assert "since iteration 5 it rose from 8.84 to 15.16 while the success rate fell from 0.78 to 0.62" in diagnose(curve)[0].message


def test_hacking_is_seen_after_an_honest_start_too():
    honest = curve_of(15, reward=(5.0, 9.0), success_rate=(0.5, 0.9), tool_reliability=(0.5, 0.85))
    hacking = curve_of(15, reward=(9.0, 14.0), success_rate=(0.9, 0.75), tool_reliability=0.85)
    assert kinds([*honest, *hacking]) == [("reward_hacking", "warning")]


def test_a_failing_policy_that_stops_trying_is_warned_about_and_stopped_once_nothing_differs():
    certain = [*curve_of(5, entropy=0.6), *curve_of(5, entropy=0.01)]
    assert kinds(certain) == [("entropy_collapse", "warning")]
    ended = [*certain, *curve_of(5, entropy=0.01, zero_variance_share=0.98)]
    assert kinds(ended)[0] == ("entropy_collapse", "collapse")


@pytest.mark.parametrize(
    ("kind", "measures"),
    [
        ("entropy_growth", {"entropy": (0.3, 1.2), "reward": (8.0, 7.0)}),
        ("kl", {"kl": (0.0, 2.0)}),
        ("clip_share", {"clip_share": (0.1, 0.6)}),
        ("gradient_norm", {"gradient_norm": 0.0}),
        ("length_drift", {"decisions_per_rollout": (5.0, 15.0)}),
        ("length_drift", {"decisions_per_rollout": (5.0, 1.0)}),
        ("zero_variance", {"zero_variance_share": 0.95}),
        ("importance", {"importance_mean": 0.5}),
    ],
)
def test_what_drifts_is_warned_about_by_name(kind, measures):
    assert kinds(curve_of(**measures)) == [(kind, "warning")]


def test_a_gradient_that_grew_tenfold_is_warned_about():
    curve = [*curve_of(15, gradient_norm=0.5), *curve_of(5, gradient_norm=6.0)]
    assert kinds(curve) == [("gradient_norm", "warning")]


def test_trying_more_is_welcome_where_it_pays():
    assert kinds(curve_of(entropy=(0.3, 1.2), reward=(5.0, 10.0))) == []


def test_longer_conversations_that_succeed_more_often_are_welcome():
    assert kinds(curve_of(decisions_per_rollout=(5.0, 15.0), success_rate=(0.5, 0.8))) == []


def test_a_finding_is_new_only_once():
    curve = curve_of(kl=(0.0, 2.0))
    told = [finding.kind for stop in range(1, len(curve) + 1) for finding in new_findings(curve[:stop])]
    assert told == ["kl"]


def test_what_was_not_measured_says_nothing():
    curve = [
        metrics.model_copy(update=dict.fromkeys(("entropy", "kl", "clip_share", "gradient_norm", "zero_variance_share")))
        for metrics in curve_of()
    ]
    assert diagnose(curve) == ()


def test_a_measure_that_is_no_number_stops_the_run_by_name():
    require_finite({"reward": 1.0})
    with pytest.raises(TrainingCollapsed, match=r"must be finite; got {'kl': nan, 'reward': inf}"):
        require_finite({"kl": float("nan"), "entropy": 0.5, "reward": float("inf")})
