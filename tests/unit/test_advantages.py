import numpy as np
import pytest

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.training.flow_grpo.advantages import group_advantages, term_scores, varied


@pytest.mark.parametrize("advantage", ["dr_grpo", "grpo", "rloo"])
def test_advantages_sum_to_zero_in_each_group(advantage):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 4)
    advantages = group_advantages(rng.normal(10, 5, size=20), groups, advantage=advantage)
    assert np.bincount(groups, weights=advantages) == pytest.approx(np.zeros(5), abs=1e-12)


def test_advantage_is_the_reward_above_the_groups_mean_in_reward_points():
    advantages = group_advantages(np.array([1.0, 5.0, 20.0, 40.0]), np.array([7, 7, 3, 3]))
    assert advantages.tolist() == [-2.0, 2.0, -10.0, 10.0]


def test_a_constant_added_to_a_groups_rewards_changes_no_advantage():
    returns, groups = np.array([1.0, 2.0, 6.0, -3.0]), np.array([0, 0, 1, 1])
    shifted = returns + np.array([100.0, 100.0, -7.0, -7.0])
    assert group_advantages(shifted, groups) == pytest.approx(group_advantages(returns, groups))


def test_a_group_of_one_has_nothing_to_be_compared_with():
    with pytest.raises(InsufficientData, match="group 9 has one of 3"):
        group_advantages(np.array([1.0, 2.0, 3.0]), np.array([4, 4, 9]))


def test_a_group_varies_when_its_rewards_are_unequal():
    returns, groups = np.array([1.0, 1.0, 1.0, 2.0, 8.0]), np.array([0, 0, 1, 1, 2])
    assert varied(returns, groups).tolist() == [False, False, True, True, False]


def test_grpo_gives_every_group_the_same_spread():
    advantages = group_advantages(np.array([1.0, 5.0, 20.0, 40.0]), np.array([7, 7, 3, 3]), advantage="grpo")
    assert advantages == pytest.approx([-1.0, 1.0, -1.0, 1.0], rel=1e-5)


def test_rloo_compares_with_the_mean_of_the_others():
    returns = np.array([6.0, 3.0, 0.0])
    advantages = group_advantages(returns, np.zeros(3, np.int64), advantage="rloo")
    assert advantages.tolist() == [6.0 - 1.5, 3.0 - 3.0, 0.0 - 4.5]


def test_rloo_on_the_survivors_of_a_group_is_that_of_a_smaller_group():
    advantages = group_advantages(np.array([4.0, 1.0, 9.0, 5.0, 1.0]), np.array([0, 0, 1, 1, 1]), advantage="rloo")
    assert advantages.tolist() == [3.0, -3.0, 6.0, 0.0, -6.0]


def test_reinforce_plus_plus_compares_with_the_batch_whatever_the_case():
    returns = np.array([10.0, 8.0, 2.0, 0.0])
    advantages = group_advantages(returns, np.array([0, 0, 1, 1]), advantage="reinforce++")
    assert advantages == pytest.approx(np.array([5.0, 3.0, -3.0, -5.0]) / np.sqrt(17.0), rel=1e-5)


def test_rollouts_with_equal_sums_are_told_apart_by_their_terms():
    """Every reward is 4, so a plain comparison learns nothing. Success: mean 1, deviation √3; saving: mean 3, deviation √3."""
    terms = [{"success": 4.0}, {"saving": 4.0}, {"saving": 4.0}, {"saving": 4.0}]
    scores = term_scores(terms, np.zeros(4, np.int64), weights={"success": 2.0})
    first, other = 2 * (4 - 1) / 3**0.5 + (0 - 3) / 3**0.5, 2 * (0 - 1) / 3**0.5 + (4 - 3) / 3**0.5
    assert scores == pytest.approx([first, other, other, other], rel=1e-5)


def test_a_small_term_counts_as_much_as_a_large_one():
    terms = [
        {"success": 100.0, "speed": 0.1},
        {"success": 0.0, "speed": 0.1},
        {"success": 100.0, "speed": 0.3},
        {"success": 0.0, "speed": 0.3},
    ]
    scores = term_scores(terms, np.zeros(4, np.int64), weights={})
    assert scores == pytest.approx([0.0, -2.0, 2.0, 0.0], abs=1e-4)


def test_a_weight_must_belong_to_a_term_somebody_earns():
    with pytest.raises(InvalidInput, match=r"must name terms of the reward, \['speed'\]; got \['sped'\]"):
        term_scores([{"speed": 1.0}, {"speed": 2.0}], np.zeros(2, np.int64), weights={"sped": 1.0})
