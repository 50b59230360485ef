"""How readily a fitted head calls, and how readily it leaves an argument out, chosen on decisions it was not fitted on."""

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.calibration import call_readiness, omission_readiness


def decision(others: int, *, is_switch_right: bool) -> Options:
    dense = np.zeros((others + 1, 1), np.float32)
    dense[-1] = 1
    return Options("act", dense, np.zeros((others + 1, 1), np.int32), chosen=others if is_switch_right else 0)


def indifferent(options: list[Options]) -> list[NDArray[np.float32]]:
    """Scores of a head to which all options are equally likely; the last one of a decision is the call, or leaving out."""
    return [np.zeros(len(given.dense), np.float32) for given in options]


def test_calls_that_are_right_in_spite_of_doubt_are_made() -> None:
    options = [decision(4, is_switch_right=True) for _ in range(50)]
    assert call_readiness(0, options, indifferent(options)) >= np.log(4)


def test_calls_that_would_be_false_are_not_made() -> None:
    certain, doubtful = [decision(1, is_switch_right=True)] * 200, [decision(4, is_switch_right=False)] * 200
    options = certain + doubtful
    assert 1 < call_readiness(0, options, indifferent(options)) < np.log(4)


def test_of_weights_that_few_calls_cannot_tell_apart_the_readiest_is_taken() -> None:
    """Three fits of one log chose -0.6, -0.3 and 0.4, and the first missed calls on tools it had never seen."""
    missed_anyway = [decision(20, is_switch_right=True)] * 4
    options = [decision(1, is_switch_right=True)] * 10 + [decision(2, is_switch_right=False)] + missed_anyway
    assert call_readiness(0, options, indifferent(options)) == 2


def test_arguments_are_left_out_less_readily_only_where_that_is_surely_better() -> None:
    balanced = [decision(1, is_switch_right=True), decision(1, is_switch_right=False)] * 20
    hint, proof = [*balanced, decision(1, is_switch_right=False)], balanced + [decision(1, is_switch_right=False)] * 500
    assert omission_readiness(0, hint, indifferent(hint)) == 0
    assert omission_readiness(0, proof, indifferent(proof)) < 0
