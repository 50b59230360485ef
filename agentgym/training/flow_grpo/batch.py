"""From rollouts to the rows the learner sees: one row for each decision."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentgym.episode import Decision
from agentgym.training.config import Credit
from agentgym.training.flow_grpo.advantages import FloatArray, group_advantages, path_advantages, varied
from agentgym.training.flow_grpo.rollouts import Rollout


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningBatch:
    """N decisions to learn from.

    log_probabilities: when they were sampled, shape (N,).   advantages: shape (N,).   weights: of each decision in the loss, shape (N,),
    together 1.   sampled_by: digests of the weights that sampled them.
    """

    decisions: Sequence[Decision]
    log_probabilities: FloatArray
    advantages: FloatArray
    weights: FloatArray
    sampled_by: frozenset[str]


def learning_batch(rollouts: Sequence[Rollout], *, credit: Credit = "rollout", masks_truncated: bool = False) -> LearningBatch | None:
    """The decisions of every rollout that can teach something; None when no group varies.

    Left out are groups whose rewards are all equal, as they have no gradient (Yu et al. 2025, DAPO, §3.2), and groups of which crashes
    left a single rollout. With `masks_truncated` a truncated rollout counts in its group's mean but not in the loss (DAPO, §3.4): right
    where the limit cuts off work that was going well; where the limit is a rule of the world it is what unlearns going round in circles.
    Weights are the rollout mean: each decision 1/(decisions of its rollout), then the mean over rollouts, so that a rollout with many
    decisions weighs no more than one with few.
    """
    compared = _compared(rollouts)
    if not compared:
        return None
    learned = [
        (rollout, advantages)
        for rollout, advantages in zip(compared, _advantages(compared, credit), strict=True)
        if rollout.decisions and not (masks_truncated and rollout.trajectory.is_truncated)
    ]
    if not learned:
        return None
    return LearningBatch(
        decisions=[decision for rollout, _ in learned for decision in rollout.decisions],
        log_probabilities=np.array([decision.log_probability for rollout, _ in learned for decision in rollout.decisions]),
        advantages=np.concatenate([advantages for _, advantages in learned]),
        weights=np.concatenate([_decision_weights(rollout, len(learned)) for rollout, _ in learned]),
        sampled_by=frozenset(rollout.weights_digest for rollout, _ in learned),
    )


def zero_variance_share(rollouts: Sequence[Rollout]) -> float:
    """Share of groups whose rewards are all equal, in 0–1."""
    ids = _group_ids(rollouts)
    has_variance = varied(_mean_rewards(rollouts), ids)
    return 1.0 - len(np.unique(ids[has_variance])) / len(np.unique(ids))


def _compared(rollouts: Sequence[Rollout]) -> list[Rollout]:
    has_variance = varied(_mean_rewards(rollouts), _group_ids(rollouts))
    return [rollout for rollout, is_varied in zip(rollouts, has_variance, strict=True) if is_varied]


def _advantages(rollouts: Sequence[Rollout], credit: Credit) -> list[FloatArray]:
    """Of each decision of each rollout: how the rollout did, and how much better its turn was rewarded than the rollout's turns were."""
    rewards, group_ids = _mean_rewards(rollouts), _group_ids(rollouts)
    if credit == "path":
        advantages = path_advantages(rewards, group_ids, [_path(rollout) for rollout in rollouts])
    else:
        advantages = [
            np.full(len(rollout.decisions), value) for rollout, value in zip(rollouts, group_advantages(rewards, group_ids), strict=True)
        ]
    return [above + _turn_excess(rollout) for above, rollout in zip(advantages, rollouts, strict=True)]


def _path(rollout: Rollout) -> list[tuple[str, str]]:
    return [(decision.name, decision.choice) for decision in rollout.decisions]


def _turn_excess(rollout: Rollout) -> FloatArray:
    """Of each decision, its turn's reward above the mean over turns: 0 where the reward is broadcast evenly."""
    excess = np.array(rollout.turn_rewards) - rollout.mean_reward
    return np.repeat(excess, [len(action.decisions) for action in rollout.trajectory.actions])


def _decision_weights(rollout: Rollout, rollouts: int) -> FloatArray:
    count = len(rollout.decisions)
    return np.full(count, 1.0 / (count * rollouts))


def _mean_rewards(rollouts: Sequence[Rollout]) -> FloatArray:
    return np.array([rollout.mean_reward for rollout in rollouts], dtype=np.float64)


def _group_ids(rollouts: Sequence[Rollout]) -> np.ndarray:
    return np.array([rollout.group_id for rollout in rollouts], dtype=np.int64)
