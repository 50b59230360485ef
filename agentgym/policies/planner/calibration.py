"""Chooses the one weight of a head that imitation gets wrong: how readily it calls, and how readily it leaves an argument out.

A softmax fitted to all turns alike says well how probable a call is, but the likeliest option is not yet the one that makes the best
trade of missed calls against false ones. The weight is chosen on decisions that the layers were not fitted on.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.network import Head

_WEIGHTS = np.round(np.arange(-2.0, 2.01, 0.1), 1)
_SMOOTH = np.ones(5) / 5

Scores = NDArray[np.float32]


def call_readiness(head: Head, options: Sequence[Options], words: Sequence[Tensor]) -> float:
    """The weight on calling with the best F1 of calls: the likeliest call is made when it is likelier than all talk together."""
    margins, is_right, has_call = [], [], 0
    for given, said in zip(options, words, strict=True):
        scores, is_call = _scores(head, given, said), given.dense[:, head.switch] > 0
        has_call += bool(is_call[given.chosen])
        if is_call.any():
            best = int(np.where(is_call, scores, -np.inf).argmax())
            margins.append(scores[best] - np.logaddexp.reduce(scores[~is_call]))
            is_right.append(best == given.chosen)
    made = np.array(margins)[None, :] + _WEIGHTS[:, None] >= 0
    right = (made & np.array(is_right)[None, :]).sum(axis=1)
    return _best(2 * right / np.maximum(1, made.sum(axis=1) + has_call))


def omission_readiness(head: Head, options: Sequence[Options], words: Sequence[Tensor]) -> float:
    """The weight on leaving an optional argument out with the most arguments right."""
    margins, right_given, right_omitted = [], [], []
    for given, said in zip(options, words, strict=True):
        if len(given.dense) > 1 and given.dense[-1, head.switch] > 0:
            scores = _scores(head, given, said)
            best = int(scores[:-1].argmax())
            margins.append(scores[-1] - scores[best])
            right_given.append(best == given.chosen)
            right_omitted.append(given.chosen == len(scores) - 1)
    if not margins:
        return 0.0
    is_omitted = np.array(margins)[None, :] + _WEIGHTS[:, None] >= 0
    return _best(np.where(is_omitted, np.array(right_omitted), np.array(right_given)).mean(axis=1))


def _scores(head: Head, options: Options, words: Tensor) -> Scores:
    with torch.no_grad():
        return np.asarray(head({"dense": torch.from_numpy(options.dense)}, words).numpy())


def _best(values: NDArray[np.float64]) -> float:
    """The middle of the best stretch: a single lucky weight is not trusted."""
    smooth = np.convolve(np.pad(values, 2, mode="edge"), _SMOOTH, mode="valid")
    best = np.flatnonzero(smooth >= smooth.max() - 1e-12)
    return float(_WEIGHTS[best].mean())
