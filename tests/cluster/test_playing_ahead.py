"""Rollouts that are played while the learner updates: older than the weights that learn, by no more than was agreed."""

from typing import Any

import pytest

from agentgym.errors import ContractBroken, InvalidInput
from agentgym.training.flow_grpo.algorithm import FlowGRPO

AHEAD = {"max_staleness": 1}


class NeverSyncs(FlowGRPO):
    """Its runners go on playing with the weights that training began with."""

    def _sync(self, workers: list[int] | None = None) -> None:
        pass


def test_a_policy_learns_from_rollouts_that_were_played_ahead(build: Any, colours: Any) -> None:
    curve = colours.curve_of(build(runners=1, computing=AHEAD), 15)
    assert curve[0]["tool_reliability"] < 0.4
    assert curve[-1]["tool_reliability"] > 0.9
    # The weights that sampled the second iteration are one update behind those that learn from it.
    assert curve[0]["max_log_ratio"] < 1e-6 < curve[1]["max_log_ratio"]


def test_a_batch_older_than_agreed_is_refused(build: Any) -> None:
    algorithm = build(runners=1, algorithm=NeverSyncs, computing=AHEAD)
    algorithm.iterate()
    algorithm.iterate()
    with pytest.raises(ContractBroken, match="one of the last 2 weights of the learner"):
        algorithm.iterate()


def test_the_process_that_learns_cannot_play_ahead(build: Any) -> None:
    with pytest.raises(InvalidInput, match="max_staleness is 1 and num_env_runners 0"):
        build(runners=0, computing=AHEAD)
