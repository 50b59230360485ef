"""What sampled a batch must be what learns from it: weights, tokenizer, arithmetic. Each is sabotaged in turn."""

import os
from functools import partial
from typing import Any

import numpy as np
import pytest

from agentgym.errors import ContractBroken
from agentgym.training.flow_grpo.algorithm import FlowGRPO
from agentgym.training.flow_grpo.weights import write_weights


class NeverSyncs(FlowGRPO):
    """Its runners go on playing with the weights that training began with."""

    def _sync(self, workers: list[int] | None = None) -> None:
        pass


def process() -> str:
    """A digest that differs from process to process."""
    return f"{os.getpid():010}"


def test_a_sync_that_does_not_arrive_stops_the_run_at_the_next_update(build: Any) -> None:
    algorithm = build(runners=1, algorithm=NeverSyncs)
    algorithm.iterate()
    with pytest.raises(ContractBroken, match="must be sampled by the weights that learn from it"):
        algorithm.iterate()


def test_a_batch_sampled_by_other_weights_is_refused(build: Any) -> None:
    algorithm = build()
    write_weights(algorithm.policy.network, {"scores": np.ones((4, 4), np.float32)})
    with pytest.raises(ContractBroken, match="must be sampled by the weights that learn from it"):
        algorithm.iterate()


def test_a_batch_sampled_with_another_tokenizer_is_refused_by_name_at_the_first_update(build: Any, colours: Any) -> None:
    algorithm = build(runners=1, policy=partial(colours.ColourPolicy, tokenizer=process))
    with pytest.raises(ContractBroken, match=f"its tokenizer differs: the learner has '{process()}', what sampled it"):
        algorithm.iterate()


def test_a_policy_that_misstates_its_log_probabilities_is_found_out(build: Any, colours: Any) -> None:
    with pytest.raises(ContractBroken, match="every probability ratio must be 1"):
        build(policy=partial(colours.ColourPolicy, misstated=-0.01)).iterate()


def test_numbers_of_sixteen_bits_may_differ_by_their_rounding_and_no_more(build: Any, colours: Any) -> None:
    half = {"precision": "bfloat16"}
    assert build(policy=partial(colours.ColourPolicy, misstated=-0.01), computing=half).iterate()["max_log_ratio"] > 0.009
    with pytest.raises(ContractBroken, match="to the rounding of bfloat16"):
        build(policy=partial(colours.ColourPolicy, misstated=-0.1), computing=half).iterate()


def test_every_first_update_starts_at_ratio_one(build: Any, colours: Any) -> None:
    assert max(metrics["max_log_ratio"] for metrics in colours.curve_of(build(), 4)) < 1e-6
