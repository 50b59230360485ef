"""A batch in parts, over several passes or several learners, moves the weights as it would whole."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from agentgym.errors import ContractBroken, InvalidInput

# Sums of float32 in another order, over three iterations of six updates.
SUMMED = 2e-4


def scores(algorithm: Any) -> np.ndarray:
    return np.asarray(algorithm.state_to_resume().tensors["weights/scores"])


def after(algorithm: Any, iterations: int) -> np.ndarray:
    for _ in range(iterations):
        algorithm.iterate()
    return scores(algorithm)


def test_several_passes_give_the_step_of_one(build: Any) -> None:
    whole, in_parts = build(kl_coefficient=0.1), build(kl_coefficient=0.1, computing={"max_decisions": 50})
    assert np.abs(after(whole, 3) - after(in_parts, 3)).max() < SUMMED
    for name in ("entropy", "kl", "clip_share", "gradient_norm"):
        assert whole.latest[name] == pytest.approx(in_parts.latest[name], abs=1e-3)


def test_two_learners_take_the_step_of_one(build: Any) -> None:
    """RLlib's own wrapper takes the mean of the gradients of two learners, which is half of what one would have computed."""
    one, two = build(kl_coefficient=0.1), build(kl_coefficient=0.1, learners=2, computing={"max_decisions": 50})
    assert np.abs(after(one, 3) - after(two, 3)).max() < SUMMED
    for name in ("entropy", "kl", "clip_share", "gradient_norm"):
        assert one.latest[name] == pytest.approx(two.latest[name], abs=1e-3)


def test_two_learners_resume_where_they_stopped(build: Any, colours: Any) -> None:
    interrupted = build(learners=2)
    colours.curve_of(interrupted, 2)
    state, expected = interrupted.state_to_resume(), colours.curve_of(interrupted, 1)
    interrupted.close()
    resumed = build(learners=2)
    resumed.resume(state)
    assert colours.curve_of(resumed, 1) == expected


def test_a_loss_that_is_not_finite_stops_two_learners_with_its_reason(build: Any, colours: Any) -> None:
    algorithm = build(learners=2, world=partial(colours.ColourWorld, correct_call=3e38))
    before = scores(algorithm)
    with pytest.raises(InvalidInput, match="must stay finite"):
        algorithm.iterate()
    assert np.array_equal(scores(algorithm), before)


def test_one_learner_that_refuses_a_batch_leaves_no_other_waiting(build: Any) -> None:
    algorithm = build(learners=2)
    algorithm.learner_group.foreach_learner(spoil, remote_actor_ids=[1])
    with pytest.raises(ContractBroken, match="must be sampled by the weights that learn from it"):
        algorithm.iterate()


def spoil(learner: Any) -> None:
    learner.policy_module.network.scores.data += 1
