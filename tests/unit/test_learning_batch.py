from dataclasses import replace

import numpy as np
import pytest

from agentgym.episode import Action, Decision, Outcome, Trajectory
from agentgym.errors import ContractBroken
from agentgym.messages import assistant
from agentgym.training.flow_grpo.batch import learning_batch, varied_groups, zero_variance_share
from agentgym.training.flow_grpo.rollouts import Rollout
from agentgym.training.flow_grpo.settings import FlowGRPOSettings

ROLLOUT = FlowGRPOSettings(credit="rollout")


def rollout(
    group_id: int,
    reward: float,
    *,
    decisions: tuple[int, ...] = (1,),
    is_truncated: bool = False,
    turn_rewards: tuple[float, ...] | None = None,
    states: str = "",
) -> Rollout:
    """A rollout with `decisions[t]` decisions in turn t."""
    decided = [tuple(Decision(name="act", choice="inform", log_probability=-0.5) for _ in range(count)) for count in decisions]
    actions = [Action(message=assistant("hello"), decisions=of_turn) for of_turn in decided]
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
    return Rollout(
        trajectory=trajectory,
        group_id=group_id,
        turn_rewards=turn_rewards or (reward,) * len(decisions),
        weights_digest="digest",
        state_hashes=tuple(states),
    )


def test_every_decision_of_every_turn_gets_the_rollouts_advantage():
    batch = learning_batch([rollout(0, 4.0, decisions=(2, 1)), rollout(0, 0.0, decisions=(1,))], ROLLOUT)
    assert batch.advantages.tolist() == [2.0, 2.0, 2.0, -2.0]


def test_each_rollout_weighs_the_same_however_many_decisions_it_has():
    batch = learning_batch([rollout(0, 4.0, decisions=(3, 2)), rollout(0, 0.0, decisions=(1,))], ROLLOUT)
    assert batch.weights[:5].sum() == pytest.approx(batch.weights[5:].sum()) == pytest.approx(0.5)


def test_weights_of_a_batch_sum_to_one():
    rng = np.random.default_rng(1)
    rollouts = [rollout(k // 4, rng.normal(), decisions=tuple(rng.integers(1, 4, size=rng.integers(1, 6)))) for k in range(16)]
    assert learning_batch(rollouts, ROLLOUT).weights.sum() == pytest.approx(1.0)


def test_a_group_without_variance_is_dropped():
    batch = learning_batch([rollout(0, 3.0), rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)], ROLLOUT)
    assert batch.advantages.tolist() == [-0.5, 0.5]


def test_there_is_nothing_to_learn_when_no_group_varies():
    assert learning_batch([rollout(0, 3.0), rollout(0, 3.0)], ROLLOUT) is None


def test_a_group_that_crashes_left_with_one_rollout_is_dropped():
    for advantage in ("dr_grpo", "grpo", "rloo", "reinforce++"):
        settings = FlowGRPOSettings(credit="rollout", advantage=advantage)
        batch = learning_batch([rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)], settings)
        assert batch.lengths == (1, 1)


def test_a_group_that_crashes_made_smaller_is_compared_among_those_left():
    """Of four rollouts one broke off. Its reward is unknown, not 0: the others are compared as a group of three."""
    batch = learning_batch([rollout(0, 6.0), rollout(0, 3.0), rollout(0, 0.0)], FlowGRPOSettings(credit="rollout", advantage="rloo"))
    assert batch.advantages.tolist() == [4.5, 0.0, -4.5]


def test_a_case_everybody_solves_still_counts_where_all_cases_are_compared():
    rollouts = [rollout(0, 4.0), rollout(0, 4.0), rollout(1, 0.0), rollout(1, 4.0)]
    batch = learning_batch(rollouts, FlowGRPOSettings(credit="rollout", advantage="reinforce++"))
    deviation = np.std([4.0, 4.0, 0.0, 4.0])
    assert batch.advantages == pytest.approx(np.array([1.0, 1.0, -3.0, 1.0]) / deviation, rel=1e-5)
    along_paths = learning_batch(rollouts, FlowGRPOSettings(credit="path", advantage="reinforce++"))
    assert along_paths.advantages == pytest.approx(np.array([-2.0, 2.0]) / 2.0, rel=1e-5)


def test_equal_rewards_in_conversations_of_unequal_length_do_not_vary():
    """0.1 + 0.1 + 0.1 divided by 3 is not 0.1: rounding must not pass for a difference."""
    rollouts = [rollout(0, 0.1, decisions=(1, 1, 1)), rollout(0, 0.1)]
    assert learning_batch(rollouts, FlowGRPOSettings(credit="rollout", advantage="grpo")) is None


def test_a_masked_truncated_rollout_counts_in_the_mean_but_not_in_the_loss() -> None:
    rollouts = [rollout(0, 6.0), rollout(0, 3.0), rollout(0, 0.0, is_truncated=True)]
    batch = learning_batch(rollouts, FlowGRPOSettings(masks_truncated=True))
    assert batch.advantages.tolist() == [3.0, 0.0]
    assert batch.weights.tolist() == [0.5, 0.5]


def test_an_unmasked_truncated_rollout_teaches_like_any_other() -> None:
    batch = learning_batch([rollout(0, 6.0), rollout(0, 0.0, is_truncated=True)], ROLLOUT)
    assert batch.advantages.tolist() == [3.0, -3.0]


def test_a_turn_rewarded_apart_is_compared_with_the_same_turn_of_the_others():
    """Means 4 and 2. Beyond them the turns earned (−1, +1) and (0, 0); with what followed, undiscounted, (0, 1) and (0, 0)."""
    rollouts = [rollout(0, 4.0, decisions=(1, 1), turn_rewards=(3.0, 5.0)), rollout(0, 2.0, decisions=(1, 1))]
    batch = learning_batch(rollouts, ROLLOUT, discount=1.0)
    assert batch.advantages.tolist() == [1.0, 1.0 + 0.5, -1.0, -1.0 - 0.5]
    doubled = learning_batch(rollouts, FlowGRPOSettings(credit="rollout", turn_weight=2.0), discount=1.0)
    assert doubled.advantages.tolist() == [1.0, 2.0, -1.0, -2.0]
    unheeded = learning_batch(rollouts, FlowGRPOSettings(credit="rollout", turn_weight=0.0), discount=1.0)
    assert unheeded.advantages.tolist() == [1.0, 1.0, -1.0, -1.0]


def test_the_discount_weighs_what_later_turns_earned():
    rollouts = [rollout(0, 4.0, decisions=(1, 1), turn_rewards=(3.0, 5.0)), rollout(0, 2.0, decisions=(1, 1))]
    batch = learning_batch(rollouts, ROLLOUT, discount=0.5)
    earned = -1.0 + 0.5 * 1.0
    assert batch.advantages.tolist() == [1.0 + earned / 2, 1.5, -1.0 - earned / 2, -1.5]


@pytest.mark.parametrize("credit", ["rollout", "path", "state"])
def test_discount_and_turn_weight_do_nothing_where_a_reward_is_broadcast(credit):
    rollouts = [rollout(0, 4.0, decisions=(1, 2), states="ab"), rollout(0, 1.0, decisions=(1, 1, 1), states="abc")]
    near = learning_batch(rollouts, FlowGRPOSettings(credit=credit, turn_weight=0.0), discount=0.1)
    far = learning_batch(rollouts, FlowGRPOSettings(credit=credit, turn_weight=5.0), discount=0.9)
    assert near.advantages.tolist() == far.advantages.tolist()


def test_a_group_whose_turns_were_rewarded_differently_varies_though_its_sums_do_not():
    rollouts = [rollout(0, 4.0, decisions=(1, 1), turn_rewards=(3.0, 5.0)), rollout(0, 4.0, decisions=(1, 1))]
    assert learning_batch(rollouts, ROLLOUT, discount=1.0).advantages.tolist() == [0.0, 0.5, 0.0, -0.5]
    assert learning_batch(rollouts, FlowGRPOSettings(turn_weight=0.0)) is None


def test_turns_of_different_groups_are_never_compared():
    rollouts = [rollout(0, 4.0, decisions=(1, 1), turn_rewards=(3.0, 5.0)), rollout(0, 2.0, decisions=(1, 1))]
    with_others = [*rollouts, rollout(1, 9.0, decisions=(1, 1), turn_rewards=(0.0, 18.0)), rollout(1, 2.0, decisions=(1, 1))]
    assert learning_batch(with_others, ROLLOUT).advantages[:4].tolist() == learning_batch(rollouts, ROLLOUT).advantages.tolist()


def test_a_lone_survivor_is_dropped_however_its_turns_were_rewarded():
    assert learning_batch([rollout(0, 4.0, decisions=(1, 1), turn_rewards=(3.0, 5.0))], ROLLOUT) is None


def test_credit_by_state_adds_how_it_went_from_the_same_state_on():
    """Over rollouts 4 against a mean of 4, 8 and 0; of the two that came to state b, 4 and 8 against 6; nobody else came to c."""
    rollouts = [rollout(0, 4.0, decisions=(1, 2), states="ab"), rollout(0, 8.0, states="b"), rollout(0, 0.0, states="c")]
    batch = learning_batch(rollouts, FlowGRPOSettings(credit="state", step_weight=0.5))
    assert batch.advantages.tolist() == [0.0, -1.0, -1.0, 4.0 + 1.0, -4.0]


def test_states_of_different_groups_are_never_compared():
    rollouts = [rollout(0, 4.0, states="a"), rollout(0, 0.0, states="b"), rollout(1, 9.0, states="a"), rollout(1, 5.0, states="b")]
    batch = learning_batch(rollouts, FlowGRPOSettings(credit="state"))
    assert batch.advantages.tolist() == [2.0, -2.0, 2.0, -2.0]


def test_credit_by_state_needs_the_state_before_every_turn():
    with pytest.raises(ContractBroken, match="case 'case' had 2 turns and 1 state hashes"):
        learning_batch([rollout(0, 4.0, decisions=(1, 1), states="a"), rollout(0, 0.0)], FlowGRPOSettings(credit="state"))


def test_each_term_of_the_reward_is_put_on_its_own_scale():
    one, other = rollout(0, 0.0), rollout(0, 0.0)
    large = replace(one, trajectory=replace(one.trajectory, reward_terms={"success": 90.0, "speed": -90.0}))
    batch = learning_batch([large, other], FlowGRPOSettings(normalises_terms=True, term_weights={"success": 2.0}))
    assert batch.advantages == pytest.approx([2.0 * 1.0 - 1.0, -2.0 * 1.0 + 1.0], abs=1e-6)


def test_the_batch_names_every_set_of_weights_that_sampled_it():
    batch = learning_batch([rollout(0, 1.0), replace(rollout(0, 2.0), weights_digest="other")], ROLLOUT)
    assert batch.sampled_by == {"digest", "other"}


def test_zero_variance_share_counts_groups_not_rollouts():
    rollouts = [rollout(0, 3.0), rollout(0, 3.0), rollout(0, 3.0), rollout(1, 1.0), rollout(1, 2.0)]
    assert zero_variance_share(rollouts, ROLLOUT) == pytest.approx(0.5)
    assert varied_groups(rollouts, ROLLOUT) == 1


def test_credit_by_path_asks_who_else_took_the_same_decisions():
    def played(reward: float, *choices: str) -> Rollout:
        decided = tuple(Decision(name="act", choice=choice, log_probability=-0.5) for choice in choices)
        like = rollout(0, reward, decisions=(len(choices),))
        return replace(like, trajectory=replace(like.trajectory, actions=(Action(message=assistant("hello"), decisions=decided),)))

    batch = learning_batch([played(8.0, "call", "now"), played(4.0, "call", "later"), played(0.0, "wait")], FlowGRPOSettings(credit="path"))
    assert batch.advantages.tolist() == [4.0, 2.0, 0.0, -2.0, -4.0]
