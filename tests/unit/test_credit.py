import numpy as np
import pytest

from agentgym.training.flow_grpo.credit import keyed_advantages, path_advantages, returns_to_go


def of_paths(returns: list[float], paths: list[str], groups: list[int] | None = None, **options: str) -> list[list[float]]:
    group_ids = np.array(groups or [0] * len(returns))
    return [advantages.tolist() for advantages in path_advantages(np.array(returns), group_ids, paths, **options)]


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


def test_grpo_along_a_path_divides_by_the_deviation_of_those_compared_with():
    given = of_paths([10.0, 6.0, -10.0], ["ax", "ay", "bz"], advantage="grpo")
    deviation = np.std([10.0, 6.0, -10.0])
    assert given[0] == pytest.approx([8.0 / deviation, 1.0], rel=1e-5)
    assert given[2] == pytest.approx([-12.0 / deviation] * 2, rel=1e-5)


def test_rloo_along_a_path_compares_with_the_others_who_came_there():
    assert of_paths([10.0, 6.0, -10.0], ["ax", "ay", "bz"], advantage="rloo")[:2] == [[12.0, 4.0], [6.0, -4.0]]


def test_reinforce_plus_plus_along_a_path_divides_by_the_deviation_of_the_batch():
    given = of_paths([10.0, 6.0, -10.0], ["ax", "ay", "bz"], advantage="reinforce++")
    deviation = np.std([10.0, 6.0, -10.0])
    assert given[0] == pytest.approx([8.0 / deviation, 2.0 / deviation], rel=1e-5)


@pytest.mark.parametrize("advantage", ["dr_grpo", "grpo", "rloo", "reinforce++"])
def test_advantages_of_a_key_sum_to_zero(advantage):
    rng = np.random.default_rng(5)
    values = [rng.normal(size=length) for length in (3, 5, 2)]
    given = keyed_advantages(values, ["abc", "abaac", "bc"], advantage=advantage)
    assert given[0][1] + given[1][1] + given[2][0] == pytest.approx(0.0, abs=1e-12)
    assert sum(part.sum() for part in given) == pytest.approx(0.0, abs=1e-12)


def test_a_turn_in_a_state_nobody_else_came_to_has_no_advantage():
    given = keyed_advantages([np.array([4.0, 9.0]), np.array([2.0])], [["start", "lost"], ["start"]])
    assert [part.tolist() for part in given] == [[1.0, 0.0], [-1.0]]


def test_a_state_come_to_twice_in_one_rollout_counts_twice():
    given = keyed_advantages([np.array([6.0, 3.0]), np.array([0.0])], ["ss", "s"])
    assert [part.tolist() for part in given] == [[3.0, 0.0], [-3.0]]


def test_what_comes_later_counts_less():
    assert returns_to_go([1.0, 0.0, 8.0], discount=0.5).tolist() == [3.0, 4.0, 8.0]


def test_reinforce_plus_plus_by_key_divides_by_the_deviation_over_all_turns():
    given = keyed_advantages([np.array([6.0, 3.0]), np.array([0.0, 5.0])], ["ab", "ab"], advantage="reinforce++")
    assert np.concatenate(given) == pytest.approx(np.array([3.0, -1.0, -3.0, 1.0]) / np.std([6.0, 3.0, 0.0, 5.0]), rel=1e-5)
