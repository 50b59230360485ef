"""Chooses the one weight of a head that imitation gets wrong: how readily it calls, and how readily it leaves an argument out.

A softmax fitted to all turns alike says well how probable a call is, but the likeliest option is not yet the one that makes the best
trade of missed calls against false ones. The weight is chosen on decisions that the layers were not fitted on. These are few, and between
two fits of one log the best weight moves a lot, so that all weights that are good enough are taken for equally good: within half a standard
error, as two weights agree on most decisions and their difference errs less than either.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.batch import Options

_WEIGHTS = np.round(np.arange(-2.0, 2.01, 0.1), 1)
_SMOOTH = np.ones(5) / 5

Scores = NDArray[np.float32]


def call_readiness(switch: int, options: Sequence[Options], scores: Sequence[Scores]) -> float:
    """The weight on calling with a good F1 of calls: the likeliest call is made when it is likelier than all talk together.

    Of equally good ones it is the readiest: a tool or a customer that is new leaves more doubt than any it was fitted on, and in doubt
    it talks.
    """
    margins, is_right, has_call = [], [], 0
    for given, score in zip(options, scores, strict=True):
        is_call = given.dense[:, switch] > 0
        has_call += bool(is_call[given.chosen])
        if is_call.any():
            best = int(np.where(is_call, score, -np.inf).argmax())
            margins.append(score[best] - np.logaddexp.reduce(score[~is_call]))
            is_right.append(best == given.chosen)
    made = np.array(margins)[None, :] + _WEIGHTS[:, None] >= 0
    right = (made & np.array(is_right)[None, :]).sum(axis=1)
    return float(_good_weights(2 * right / np.maximum(1, made.sum(axis=1) + has_call), cases=has_call).max())


def omission_readiness(switch: int, options: Sequence[Options], scores: Sequence[Scores]) -> float:
    """The weight on leaving an optional argument out with the most arguments right; of equally good ones the one nearest to 0."""
    margins, right_given, right_omitted = [], [], []
    for given, score in zip(options, scores, strict=True):
        if len(given.dense) > 1 and given.dense[-1, switch] > 0:
            best = int(score[:-1].argmax())
            margins.append(score[-1] - score[best])
            right_given.append(best == given.chosen)
            right_omitted.append(given.chosen == len(score) - 1)
    if not margins:
        return 0.0
    is_omitted = np.array(margins)[None, :] + _WEIGHTS[:, None] >= 0
    right = np.where(is_omitted, np.array(right_omitted), np.array(right_given)).mean(axis=1)
    good = _good_weights(right, cases=len(margins))
    return float(good[np.abs(good).argmin()])


def _good_weights(values: NDArray[np.float64], *, cases: int) -> NDArray[np.float64]:
    """The weights whose value, a share of `cases`, is within half a standard error of the best; a single lucky one is smoothed away."""
    smooth = np.convolve(np.pad(values, 2, mode="edge"), _SMOOTH, mode="valid")
    best = float(np.clip(smooth.max(), 0, 1))
    error = (best * (1 - best) / max(1, cases)) ** 0.5
    good: NDArray[np.float64] = _WEIGHTS[smooth >= smooth.max() - error / 2]
    return good
