from dataclasses import replace

import numpy as np
import pytest

from agentgym.episode import Action, Decision, Outcome, Trajectory
from agentgym.messages import assistant
from agentgym.training.flow_grpo.batch import learning_batch, zero_variance_share
from agentgym.training.flow_grpo.rollouts import Rollout


def rollout(group_id: int, reward: float, *, decisions: tuple[int, ...] = (1,), is_truncated: bool = False) -> Rollout:
    """A rollout with `decisions[t]` decisions in turn t."""
    actions = [
        Action(
            message=assistant("hello"), decisions=tuple(Decision(name="act", choice="inform", log_probability=-0.5) for _ in range(count))
        )
        for count in decisions
    ]
    trajectory = Trajectory(
        case_id="case",
        kind="kind",
        cluster_id="customer",
        messages=(),
        actions=tuple(actions),
        calls=(),
        missing_calls=(),
        outcome=Outcome.RESOLVED,
        satisfaction_score=None,
        agent_tokens=1,
        simulated_seconds=1.0,
        reward_terms={"outcome": reward},
        is_truncated=is_truncated,
    )
    return Rollout(trajectory=trajectory, group_id=group_id, turn_rewards=(reward,) * len(decisions), weights_digest="digest")


def test_every_decision_of_every_turn_gets_the_rollouts_advantage():
    batch = learning_batch([rollout(0, 4.0, decisions=(2, 1)), rollout(0, 0.0, decisions=(1,))])
    assert batch.advantages.tolist() == [2.0, 2.0, 2.0, -2.0]


def test_each_rollout_weighs_the_same_however_many_decisions_it_has():
    batch = learning_batch([rollout(0, 4.0, decisions=(3, 2)), rollout(0, 0.0, decisions=(1,))])
    assert batch.weights[:5].sum() == pytest.approx(batch.weights[5:].sum()) == pytest.approx(0.5)


def test_weights_of_a_batch_sum_to_one():
    rng = np.random.default_rng(1)
    rollouts = [rollout(k // 4, rng.normal(), decisions=tuple(rng.integers(1, 4, size=rng.integers(1, 6)))) for k in range(16)]
    assert learning_batch(rollouts).weights.sum() == pytest.approx(1.0)


def test_a_group_without_variance_is_dropped():
    batch = learning_batch([rollout(0, 3.0), rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)])
    assert batch.advantages.tolist() == [-0.5, 0.5]


def test_there_is_nothing_to_learn_when_no_group_varies():
    assert learning_batch([rollout(0, 3.0), rollout(0, 3.0)]) is None


def test_a_group_that_crashes_left_with_one_rollout_is_dropped():
    batch = learning_batch([rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)])
    assert len(batch.decisions) == 2


def test_a_masked_truncated_rollout_counts_in_the_mean_but_not_in_the_loss() -> None:
    rollouts = [rollout(0, 6.0), rollout(0, 3.0), rollout(0, 0.0, is_truncated=True)]
    batch = learning_batch(rollouts, masks_truncated=True)
    assert batch.advantages.tolist() == [3.0, 0.0]
    assert batch.weights.tolist() == [0.5, 0.5]


def test_an_unmasked_truncated_rollout_teaches_like_any_other() -> None:
    batch = learning_batch([rollout(0, 6.0), rollout(0, 0.0, is_truncated=True)])
    assert batch.advantages.tolist() == [3.0, -3.0]


def test_a_turn_rewarded_apart_keeps_its_distance_from_the_rollouts_mean():
    uneven = replace(rollout(0, 4.0, decisions=(1, 1)), turn_rewards=(3.0, 5.0))
    batch = learning_batch([uneven, rollout(0, 0.0)])
    assert batch.advantages.tolist() == [1.0, 3.0, -2.0]


def test_the_batch_names_every_set_of_weights_that_sampled_it():
    batch = learning_batch([rollout(0, 1.0), replace(rollout(0, 2.0), weights_digest="other")])
    assert batch.sampled_by == {"digest", "other"}


def test_zero_variance_share_counts_groups_not_rollouts():
    rollouts = [rollout(0, 3.0), rollout(0, 3.0), rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)]
    assert zero_variance_share(rollouts) == pytest.approx(0.5)


def test_credit_by_path_asks_who_else_took_the_same_decisions():
    def played(reward: float, *choices: str) -> Rollout:
        decided = tuple(Decision(name="act", choice=choice, log_probability=-0.5) for choice in choices)
        like = rollout(0, reward, decisions=(len(choices),))
        return replace(like, trajectory=replace(like.trajectory, actions=(Action(message=assistant("hello"), decisions=decided),)))

    batch = learning_batch([played(8.0, "call", "now"), played(4.0, "call", "later"), played(0.0, "wait")], credit="path")
    assert batch.advantages.tolist() == [4.0, 2.0, 0.0, -2.0, -4.0]
