"""Flow-GRPO on a real local Ray: what it learns, that it repeats itself, and what it refuses to learn from."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from agentgym.errors import InvalidInput
from agentgym.training.flow_grpo.weights import read_weights


def test_the_policy_learns_what_the_reward_pays(build: Any, colours: Any) -> None:
    algorithm = build()
    curve = colours.curve_of(algorithm, 15)
    assert curve[0]["tool_reliability"] < 0.4
    assert curve[-1]["tool_reliability"] > 0.9
    assert colours.greedy_reliability(algorithm.policy) == 1.0


def test_a_corrupted_reward_makes_the_policy_worse_with_the_same_code(build: Any, colours: Any) -> None:
    algorithm = build(world=partial(colours.ColourWorld, correct_call=-20.0, wrong_call=10.0))
    curve = colours.curve_of(algorithm, 15)
    assert curve[-1]["tool_reliability"] < 0.1 < curve[0]["tool_reliability"]


def test_the_same_seed_gives_the_same_numbers(build: Any, colours: Any) -> None:
    first, second = colours.curve_of(build(seed=3), 4), colours.curve_of(build(seed=3), 4)
    assert first == second


def test_another_seed_plays_other_rollouts(build: Any, colours: Any) -> None:
    assert colours.curve_of(build(seed=3), 1) != colours.curve_of(build(seed=4), 1)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(build: Any, colours: Any) -> None:
    algorithm = build(world=partial(colours.ColourWorld, correct_call=3e38))
    before = read_weights(algorithm.policy.network)
    with pytest.raises(InvalidInput, match="must stay finite"):
        algorithm.iterate()
    after = algorithm.state_to_resume().tensors["weights/scores"]
    assert np.array_equal(after, before["scores"])


def test_a_resumed_run_gives_the_numbers_of_one_never_interrupted(build: Any, colours: Any) -> None:
    whole = colours.curve_of(build(), 6)
    interrupted = build()
    colours.curve_of(interrupted, 3)
    resumed = build()
    resumed.resume(interrupted.state_to_resume())
    assert colours.curve_of(resumed, 3) == whole[3:]


def test_the_pull_keeps_the_policy_near_where_it_started(build: Any, colours: Any) -> None:
    free, held = build(), build(kl_coefficient=50.0)
    assert colours.curve_of(held, 8)[-1]["entropy"] > colours.curve_of(free, 8)[-1]["entropy"] + 0.2


def test_only_what_learns_is_sent_to_those_who_play(build: Any, colours: Any) -> None:
    assert set(build().state_to_resume().tensors) == {"weights/scores"}


def test_runners_in_other_processes_play_with_the_newest_weights(build: Any, colours: Any) -> None:
    algorithm = build(runners=2)
    curve = colours.curve_of(algorithm, 12)
    assert curve[-1]["tool_reliability"] > 0.8
    assert curve[0]["rollouts"] >= 16 * 8
