"""Fits a head's table of word pairs by itself: a linear model with a softmax over the options of each decision."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.batch import Options, collated

BATCH = 64
Table = NDArray[np.float32]


def fit_table(
    options: Sequence[Options],
    places: NDArray[np.int64],
    *,
    cells: int,
    epochs: int,
    least_steps: int,
    rate: float,
    switch: int,
    rest_weight: float,
    seed: int,
) -> Table:
    """The table fitted to the decisions at `places`, shape (cells,).

    AdaGrad (Duchi et al. 2011), which gives rare words the long steps they need. least_steps: more epochs where these make fewer batches.
    switch, rest_weight: the choice among options without this feature counts less, see `fitting.FitSettings`.
    """
    rng = np.random.default_rng(seed)
    table, squares = np.zeros(cells, np.float32), np.full(cells, 1e-3, np.float32)
    for _ in range(max(epochs, math.ceil(least_steps * BATCH / max(1, len(places))))):
        order = rng.permutation(places)
        for start in range(0, len(order), BATCH):
            gradient = _gradient(table, [options[place] for place in order[start : start + BATCH]], switch, rest_weight)
            touched = np.flatnonzero(gradient != 0)  # looking for true is many times faster than looking for what is not zero
            squares[touched] += gradient[touched] ** 2
            table[touched] -= rate * gradient[touched] / np.sqrt(squares[touched])
    return table


def words_of_options(table: Table, options: Sequence[Options], places: NDArray[np.int64], *, voices: int) -> list[NDArray[np.float32]]:
    """What the table says, in each voice, of the options of each decision at `places`, shapes (O, voices)."""
    said = []
    for chunk in np.split(places, range(BATCH, len(places), BATCH)):
        chosen = [options[place] for place in chunk]
        if chosen:
            sums = _said(table, _Batch(chosen), voices)
            said += np.split(sums.astype(np.float32), np.cumsum([len(given.dense) for given in chosen])[:-1])
    return said


class _Batch:
    """Collated decisions of one head, by field."""

    def __init__(self, options: Sequence[Options]) -> None:
        head = options[0].head
        fields = {name.removeprefix(f"{head}_"): values for name, values in collated(options, heads=(head,)).items()}
        self.cells, self.offsets, self.segments = fields["cells"], fields["offsets"], fields["segments"]
        self.link_options, self.link_bags, self.chosen = fields["link_options"], fields["link_bags"], fields["chosen"]
        self.voices, self.dense = fields["voices"], fields["dense"]
        self.count, self.decisions = len(fields["dense"]), len(options)


def _said(table: Table, batch: _Batch, voices: int) -> NDArray[np.float64]:
    bags = np.add.reduceat(table[batch.cells], batch.offsets)[batch.link_bags]
    places = batch.link_options * voices + (batch.voices[batch.link_bags] if voices > 1 else 0)
    sums = np.bincount(places, weights=bags, minlength=batch.count * voices)
    return sums.reshape(batch.count, voices).astype(np.float64, copy=False)


def _gradient(table: Table, options: Sequence[Options], switch: int, rest_weight: float) -> NDArray[np.float64]:
    """Of the mean loss (`fitting._loss`), by cell, shape (cells,)."""
    batch = _Batch(options)
    scores = _said(table, batch, voices=1)[:, 0]
    weights = np.exp(scores - np.maximum.reduceat(scores, np.flatnonzero(np.diff(batch.segments, prepend=-1)))[batch.segments])
    errors = weights / np.bincount(batch.segments, weights=weights)[batch.segments]
    errors[batch.chosen] -= 1
    if rest_weight < 1:
        errors -= (1 - rest_weight) * _errors_among_rest(batch, weights, batch.dense[:, switch] <= 0)
    of_bag = np.bincount(batch.link_bags, weights=errors[batch.link_options], minlength=len(batch.offsets))
    widths = np.diff(batch.offsets, append=len(batch.cells))
    weights = np.repeat(of_bag / batch.decisions, widths)
    return np.bincount(batch.cells, weights=weights, minlength=len(table)).astype(np.float64, copy=False)


def _errors_among_rest(batch: _Batch, weights: NDArray[np.float64], is_rest: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The errors of the choice among the rest alone, in decisions that chose one of them, shape (O,)."""
    rest = np.where(is_rest, weights, 0)
    errors = rest / np.maximum(np.bincount(batch.segments, weights=rest), 1e-12)[batch.segments]
    errors[batch.chosen] -= 1
    return np.where(is_rest[batch.chosen][batch.segments], errors, 0)
