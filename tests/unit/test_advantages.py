import numpy as np
import pytest

from agentgym.errors import InsufficientData
from agentgym.training.flow_grpo.advantages import group_advantages, path_advantages, varied


def test_advantages_sum_to_zero_in_each_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(5), 4)
    advantages = group_advantages(rng.normal(10, 5, size=20), groups)
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


def of_paths(returns: list[float], paths: list[str], groups: list[int] | None = None) -> list[list[float]]:
    group_ids = np.array(groups or [0] * len(returns))
    return [advantages.tolist() for advantages in path_advantages(np.array(returns), group_ids, paths)]


def test_the_first_decision_is_compared_with_the_whole_group():
    firsts = [advantages[0] for advantages in of_paths([6.0, 3.0, 0.0], ["ax", "ay", "bx"])]
    assert firsts == [3.0, 0.0, -3.0]


def test_a_later_decision_is_compared_only_with_those_that_came_to_it_the_same_way():
    assert of_paths([10.0, 6.0, -10.0], ["ax", "ay", "bz"])[:2] == [[8.0, 2.0], [4.0, -2.0]]


def test_a_decision_nobody_else_faced_is_compared_where_the_paths_parted():
    assert of_paths([10.0, 0.0], ["axxx", "byy"]) == [[5.0] * 4, [-5.0] * 3]


def test_equal_paths_of_different_groups_are_never_compared():
    assert of_paths([4.0, 2.0, 90.0, 80.0], ["a", "b", "a", "b"], [1, 1, 2, 2]) == [[1.0], [-1.0], [5.0], [-5.0]]


def test_a_decision_everyone_took_has_advantages_that_sum_to_zero():
    rng = np.random.default_rng(3)
    paths = ["ask" + "".join(rng.choice(list("xyz"), size=4)) for _ in range(16)]
    advantages = path_advantages(rng.normal(size=16), np.zeros(16, np.int64), paths)
    assert sum(given[:3].sum() for given in advantages) == pytest.approx(0.0, abs=1e-12)
