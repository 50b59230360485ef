"""What the curve of a training run says about its health, in plain language; pure functions on the curve."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agentgym.errors import TrainingCollapsed
from agentgym.training.result import IterationMetrics

FloatArray = NDArray[np.float64]
Severity = Literal["warning", "collapse"]

# Iterations a level is averaged over, and as many again before two levels are compared: one iteration is too noisy to judge by.
WINDOW = 5
# A policy this reliable and successful may stop exploring: then it has converged, not collapsed.
SOLVED = 0.9
# Rollouts without a single group that varied, after which the scenario rather than chance is to blame.
UNVARIED_ROLLOUTS = 200
# A proportion that fell by less is not worth a word, whatever its noise.
SMALLEST_FALL = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something about a run that a person should know.

    kind: one word or two, equal for equal findings.   severity: a collapse does not mend itself: the run is stopped.
    iteration: the last one looked at.   message: the rule, the fact that broke it, the repair.
    """

    kind: str
    severity: Severity
    iteration: int
    message: str


def diagnose(curve: Sequence[IterationMetrics]) -> tuple[Finding, ...]:
    """What is to be said after the last iteration of `curve`, collapses first; nothing of a healthy run, or of one too short to tell."""
    found = [finding for check in _CHECKS if curve and (finding := check(curve)) is not None]
    return tuple(sorted(found, key=lambda finding: finding.severity != "collapse"))


def new_findings(curve: Sequence[IterationMetrics]) -> tuple[Finding, ...]:
    """What is to be said now and was not to be said an iteration ago."""
    known = {finding.kind for finding in diagnose(curve[:-1])}
    return tuple(finding for finding in diagnose(curve) if finding.kind not in known)


def findings_of(curve: Sequence[IterationMetrics]) -> tuple[Finding, ...]:
    """Everything that was to be said on the way to the end of `curve`, each kind when it first appeared."""
    said = {finding.kind: finding for end in range(len(curve), 0, -1) for finding in diagnose(curve[:end])}
    return tuple(sorted(said.values(), key=lambda finding: finding.iteration))


def require_health(curve: Sequence[IterationMetrics]) -> None:
    """Raises TrainingCollapsed when the run has collapsed: what it would learn from now on is worse than what it had."""
    collapses = [finding for finding in diagnose(curve) if finding.severity == "collapse"]
    if collapses:
        raise TrainingCollapsed(" ".join(finding.message for finding in collapses))


def require_finite(measured: Mapping[str, float]) -> None:
    """Raises TrainingCollapsed when something measured in an iteration is not a number, or infinite."""
    broken = {name: value for name, value in measured.items() if not math.isfinite(value)}
    if broken:
        raise TrainingCollapsed(
            f"Everything measured in an iteration must be finite; got {broken!r}. "
            "Lower the learning rate, and go on from the last resume point, which is still good."
        )


def _nothing_to_compare(curve: Sequence[IterationMetrics]) -> Finding | None:
    shares, rollouts = _series(curve, "zero_variance_share"), sum(metrics.rollouts for metrics in curve)
    if len(shares) < len(curve) or shares.min() < 1 or rollouts < UNVARIED_ROLLOUTS:
        return None
    last = curve[-1]
    rule = "Rollouts of a case must earn unequal rewards for one to be better than another"
    fact = f"in {len(curve)} iterations and {rollouts} rollouts no group's did, at a mean of {last.reward:.2f}"
    if _is_solved(last):
        return _finding(
            "nothing_to_learn", "warning", curve, f"{rule}; {fact}. The policy solves these cases already: give it harder ones."
        )
    return _finding(
        "no_signal",
        "collapse",
        curve,
        f"{rule}; {fact}. Check that the scenario's reward depends on what the agent does, that its cases can be solved at all, "
        "and that the policy has learned enough by imitation to do it sometimes; a larger group_size meets rare successes.",
    )


def _signal_lost(curve: Sequence[IterationMetrics]) -> Finding | None:
    """A collapse: groups did vary once, and for a WINDOW none has, in a policy that still fails: no later iteration can change it."""
    shares = _series(curve, "zero_variance_share")
    if len(shares) < len(curve) or len(shares) <= WINDOW or shares.min() == 1 or shares[-WINDOW:].min() < 1 or _is_solved(curve[-1]):
        return None
    return _finding(
        "signal_lost",
        "collapse",
        curve,
        f"Rollouts of a case must earn unequal rewards for one to be better than another; for {WINDOW} iterations no group's have, at a "
        f"success rate of {curve[-1].success_rate:.2f}. Lower the learning rate or raise entropy_coefficient, and start again.",
    )


def _forgetting(curve: Sequence[IterationMetrics]) -> Finding | None:
    """A collapse: less than half of the best level, and below where the run began."""
    # What is drawn shifts to what is still unsolved; where that is known, the shift is taken out of the judgement.
    is_weighed = curve[-1].mastery is not None
    for name in ("mastery",) if is_weighed else ("tool_reliability", "success_rate"):
        levels = _levels(curve, name)
        if len(levels) <= WINDOW or levels.max() < 2 * SMALLEST_FALL:
            continue
        is_below_start = levels[-1] < levels[0] - SMALLEST_FALL
        if levels[-1] < 0.5 * levels.max() and (is_weighed or is_below_start):
            return _finding(
                "forgetting",
                "collapse",
                curve,
                f"Training must not cost a policy what it could do; its {_words(name)} has fallen to {levels[-1]:.2f} from "
                f"{levels.max():.2f}, and began at {levels[0]:.2f}. "
                "Lower the learning rate or the epochs, or raise kl_coefficient, and start again.",
            )
    return None


def _reward_hacking(curve: Sequence[IterationMetrics]) -> Finding | None:
    rewards = _levels(curve, "reward")
    for name in ("success_rate", "tool_reliability"):
        levels = _levels(curve, name)
        if len(levels) <= WINDOW:
            return None
        best = int(levels[:-WINDOW].argmax())
        fallen, risen = levels[best] - levels[-1], rewards[-1] - rewards[best]
        if fallen > max(SMALLEST_FALL, _doubt(curve, name)) and risen > _doubt(curve, "reward"):
            return _finding(
                "reward_hacking",
                "warning",
                curve,
                f"A reward must rise only when the work gets better; since iteration {best + WINDOW} it rose from {rewards[best]:.2f} to "
                f"{rewards[-1]:.2f} while the {_words(name)} fell from {levels[best]:.2f} to {levels[-1]:.2f}. "
                "Read some trajectories, and lower the weight of what is being paid for instead.",
            )
    return None


def _premature_certainty(curve: Sequence[IterationMetrics]) -> Finding | None:
    entropies = _levels(curve, "entropy")
    if len(entropies) <= WINDOW or entropies[-1] > 0.05 * entropies[0] or _is_solved(curve[-1]):
        return None
    has_stopped = _levels(curve, "zero_variance_share")[-1] > 0.95
    return _finding(
        "entropy_collapse",
        "collapse" if has_stopped else "warning",
        curve,
        f"A policy that still fails must try different things; its entropy has fallen to {entropies[-1]:.4f} nats a decision from "
        f"{entropies[0]:.4f}, at a success rate of {curve[-1].success_rate:.2f}"
        f"{', and its rollouts hardly differ any more' if has_stopped else ''}. "
        "Raise entropy_coefficient or clip_high, or lower the learning rate.",
    )


def _growing_randomness(curve: Sequence[IterationMetrics]) -> Finding | None:
    entropies, rewards = _levels(curve, "entropy"), _levels(curve, "reward")
    if len(entropies) <= WINDOW or entropies[-1] < 2 * entropies[0] or rewards[-1] > rewards[0]:
        return None
    return _finding(
        "entropy_growth",
        "warning",
        curve,
        f"A policy that learns becomes surer; its entropy has grown to {entropies[-1]:.3f} nats a decision from {entropies[0]:.3f} and its "
        "reward has not risen. Lower entropy_coefficient or the learning rate.",
    )


def _far_from_start(curve: Sequence[IterationMetrics]) -> Finding | None:
    levels = _levels(curve, "kl")
    if not levels.size or levels[-1] <= 1.0:
        return None
    return _finding(
        "kl",
        "warning",
        curve,
        f"A policy should stay within 1 nat a decision of the one it started from; it is {levels[-1]:.2f} away. "
        "Raise kl_coefficient or lower the learning rate, unless its success rate says that this is right.",
    )


def _long_steps(curve: Sequence[IterationMetrics]) -> Finding | None:
    levels = _levels(curve, "clip_share")
    if not levels.size or levels[-1] <= 0.3:
        return None
    return _finding(
        "clip_share",
        "warning",
        curve,
        f"An update should leave most decisions within the clip range; {levels[-1]:.0%} are outside it. "
        "Lower the learning rate or the epochs.",
    )


def _wild_gradients(curve: Sequence[IterationMetrics]) -> Finding | None:
    norms = _series(curve, "gradient_norm")
    if len(norms) < 2 * WINDOW:
        return None
    now, before = float(np.median(norms[-WINDOW:])), float(np.median(norms[:-WINDOW]))
    if now == 0.0:
        fact = f"it has been 0 for {WINDOW} iterations. Check that the policy's network has parameters that learn"
    elif now > 10 * before:
        fact = f"it is {now:.2g} where {before:.2g} was usual. Lower the learning rate"
    else:
        return None
    return _finding("gradient_norm", "warning", curve, f"The gradient's norm should be steady and above 0; {fact}.")


def _drifting_length(curve: Sequence[IterationMetrics]) -> Finding | None:
    lengths, successes = _levels(curve, "decisions_per_rollout"), _levels(curve, "success_rate")
    if len(lengths) <= WINDOW or lengths[0] == 0 or successes[-1] > successes[0] + SMALLEST_FALL:
        return None
    if 0.5 <= lengths[-1] / lengths[0] <= 2:
        return None
    return _finding(
        "length_drift",
        "warning",
        curve,
        f"Conversations should change in length only where that helps; they take {lengths[-1]:.1f} decisions, {lengths[0]:.1f} at first, "
        "and the success rate has not risen. Look at what the reward pays for length, and at aggregation and masks_truncated.",
    )


def _few_groups_teach(curve: Sequence[IterationMetrics]) -> Finding | None:
    levels = _levels(curve, "zero_variance_share")
    if not levels.size or levels[-1] <= 0.9 or levels[-1] == 1.0 or _is_solved(curve[-1]):
        return None
    return _finding(
        "zero_variance",
        "warning",
        curve,
        f"Most groups should hold better and worse rollouts; in {levels[-1]:.0%} of them all earn the same. "
        "Raise group_size or max_refills, or set settles_after, so that play goes to cases that can be told apart.",
    )


def _stale_samples(curve: Sequence[IterationMetrics]) -> Finding | None:
    levels = _levels(curve, "importance_mean")
    if not levels.size or 0.8 <= levels[-1] <= 1.25:
        return None
    return _finding(
        "importance",
        "warning",
        curve,
        f"What is learned from must have been sampled by nearly the policy that learns; decisions weigh {levels[-1]:.2f} on average "
        "instead of 1. Lower max_staleness or the learning rate.",
    )


_CHECKS: tuple[Callable[[Sequence[IterationMetrics]], Finding | None], ...] = (
    _nothing_to_compare,
    _signal_lost,
    _forgetting,
    _premature_certainty,
    _reward_hacking,
    _growing_randomness,
    _far_from_start,
    _long_steps,
    _wild_gradients,
    _drifting_length,
    _few_groups_teach,
    _stale_samples,
)


def _finding(kind: str, severity: Severity, curve: Sequence[IterationMetrics], message: str) -> Finding:
    return Finding(kind=kind, severity=severity, iteration=curve[-1].iteration, message=message)


def _is_solved(metrics: IterationMetrics) -> bool:
    return metrics.tool_reliability >= SOLVED and metrics.success_rate >= SOLVED


def _words(name: str) -> str:
    return name.replace("_", " ")


def _series(curve: Sequence[IterationMetrics], name: str) -> FloatArray:
    """One measure over the iterations in which it was taken, shape (≤ T,)."""
    taken = [getattr(metrics, name) for metrics in curve]
    return np.array([value for value in taken if value is not None], dtype=np.float64)


def _levels(curve: Sequence[IterationMetrics], name: str) -> FloatArray:
    """Means over each WINDOW of iterations in a row; empty before there is one."""
    values = _series(curve, name)
    return np.convolve(values, np.full(WINDOW, 1 / WINDOW), mode="valid") if len(values) >= WINDOW else np.zeros(0)


def _doubt(curve: Sequence[IterationMetrics], name: str) -> float:
    """By how much two levels may differ by noise alone: three standard errors of their difference, from the steps between iterations."""
    # Steps rather than values: a trend moves each step little, and the values a lot.
    noise = float(np.std(np.diff(_series(curve, name)))) / math.sqrt(2)
    return 3 * noise * math.sqrt(2 / WINDOW)
