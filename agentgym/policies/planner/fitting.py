"""Fits one head of the planner's network to decisions that were right.

The hashed table is fitted alone first, in parts: what it says of a decision comes from a table that has not seen that decision's customer,
so that the layers above learn how far words can be trusted. The table that stays is fitted on everything.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agentgym.policies.planner.network import (
    WORDS_SCALE,
    Head,
    Options,
    collated,
    of_head,
    segment_log_softmax,
    squashed,
    tensors,
    words_said,
)

FOLDS: Final = 3
_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a head is fitted.

    table_epochs: of the table, and more where they are fewer than table_steps batches.   table_rate, layer_rate: how fast.
    weight_decay, dropout: of the layers.   calibrate: chooses the weight of the head's switch on held-out decisions.
    """

    table_epochs: int
    table_steps: int
    table_rate: float
    layer_epochs: int
    layer_rate: float
    weight_decay: float
    dropout: float
    calibrate: Callable[[Head, Sequence[Options], Sequence[Tensor]], float]


@dataclass(frozen=True, eq=False)
class Examples:
    """Decisions with the right choice.

    fold: of each decision, shape (N,).   is_held_out: those that the calibration is chosen on, shape (N,).
    """

    options: Sequence[Options]
    fold: NDArray[np.int64]
    is_held_out: NDArray[np.bool_]


def fit_head(
    head: Head,
    examples: Examples,
    settings: FitSettings,
    *,
    seed: int,
    on_progress: Callable[[float], None],
    drop: "DropFeatures | None" = None,
) -> tuple[Tensor, ...]:
    """Fits the head in place, table and layers; gives the tables of the folds, each fitted without its fold, shape (cells, 1)."""
    words = np.zeros(sum(len(options.dense) for options in examples.options), np.float32)
    tables = []
    for fold in range(FOLDS):
        tables.append(_fitted_table(head, examples.options, np.flatnonzero(examples.fold != fold), settings, seed=seed))
        _write_words(words, tables[fold], examples.options, np.flatnonzero(examples.fold == fold))
        on_progress((fold + 1) / (FOLDS + 2))
    head.table.data.copy_(_fitted_table(head, examples.options, np.arange(len(examples.options)), settings, seed=seed))
    on_progress((FOLDS + 1) / (FOLDS + 2))
    said = torch.from_numpy(words)
    _calibrate(head, examples, said, settings, seed=seed, drop=drop)
    fit_layers(head, examples.options, said, settings, seed=seed, drop=drop)
    on_progress(1.0)
    return tuple(tables)


def _calibrate(head: Head, examples: Examples, words: Tensor, settings: FitSettings, *, seed: int, drop: "DropFeatures | None") -> None:
    held_out: list[int] = np.flatnonzero(examples.is_held_out).tolist()
    if not len(held_out) or len(held_out) == len(examples.options):
        return
    fit_layers(head, examples.options, words, settings, seed=seed, places=np.flatnonzero(~examples.is_held_out), drop=drop)
    options = [examples.options[place] for place in held_out]
    said = torch.split(words, [len(given.dense) for given in examples.options])
    weight = settings.calibrate(head, options, [said[place] for place in held_out])
    head.calibration.data.fill_(weight)


DropFeatures = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Blanks some features of some decisions while fitting: (dense, segments, generator) to dense."""


def _fitted_table(head: Head, options: Sequence[Options], places: NDArray[np.int64], settings: FitSettings, *, seed: int) -> Tensor:
    """A table fitted alone, as a linear model with a softmax over each decision's options (AdaGrad, Duchi et al. 2011)."""
    rng = np.random.default_rng(seed)
    table = torch.zeros_like(head.table)
    squares = torch.full_like(table, 1e-3)
    for _ in range(max(settings.table_epochs, math.ceil(settings.table_steps * _BATCH / max(1, len(places))))):
        order = rng.permutation(places)
        for start in range(0, len(order), _BATCH):
            gradient = _table_gradient(table, [options[place] for place in order[start : start + _BATCH]])
            squares += gradient * gradient
            table -= settings.table_rate * gradient / squares.sqrt()
    return table


def _table_gradient(table: Tensor, options: Sequence[Options]) -> Tensor:
    leaf = table.detach().requires_grad_()
    batch = _batch(options)
    scores = words_said(leaf, batch)
    log_probabilities = segment_log_softmax(scores, batch["segments"], len(options))
    (gradient,) = torch.autograd.grad(-log_probabilities[batch["chosen"]].mean(), leaf)
    return gradient


def _batch(options: Sequence[Options]) -> dict[str, Tensor]:
    return of_head(options[0].head, tensors(collated(options)))


def _write_words(words: NDArray[np.float32], table: Tensor, options: Sequence[Options], places: NDArray[np.int64]) -> None:
    """Writes what a table says of the decisions at `places` into their rows of `words`."""
    sizes = np.array([len(given.dense) for given in options])
    first = np.cumsum(sizes) - sizes
    for chunk in np.split(places, range(_BATCH, len(places), _BATCH)):
        rows = np.concatenate([np.arange(first[place], first[place] + sizes[place]) for place in chunk])
        with torch.no_grad():
            words[rows] = words_said(table, _batch([options[place] for place in chunk])).numpy()


# --- layers ---


def fit_layers(
    head: Head,
    options: Sequence[Options],
    words: Tensor,
    settings: FitSettings,
    *,
    seed: int,
    places: NDArray[np.int64] | None = None,
    drop: DropFeatures | None = None,
) -> None:
    """Fits the layers in place on the decisions at `places` (all when None), given what the tables say of their options."""
    generator = torch.Generator().manual_seed(seed)
    rows = _Rows.of(options, words)
    _start(head, rows.dense, generator)
    places_left = torch.arange(len(options)) if places is None else torch.from_numpy(places)
    parameters = list(head.layers.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.layer_rate, weight_decay=settings.weight_decay)
    steps, step = settings.layer_epochs * max(1, -(-len(places_left) // _BATCH)), 0
    for _ in range(settings.layer_epochs):
        order = places_left[torch.randperm(len(places_left), generator=generator)]
        for chunk in torch.split(order, _BATCH):
            for group in optimizer.param_groups:
                group["lr"] = settings.layer_rate * (1 - step / steps) + 1e-5
            dense, said, segments, chosen = rows.of_decisions(chunk)
            if drop is not None:
                dense = drop(dense, segments, generator)
            scores = _layer_scores(head, dense, said, settings.dropout, generator)
            loss = -segment_log_softmax(scores, segments, len(chunk))[chosen].mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1


def _layer_scores(head: Head, dense: Tensor, said: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
    values = torch.cat([((squashed(dense) - head.mean) / head.spread).clamp(-6, 6), said[:, None] / WORDS_SCALE], dim=1)
    for layer in head.layers:
        values = layer(values)
        if isinstance(layer, nn.GELU) and dropout:
            values = values * (torch.rand(values.shape, generator=generator) >= dropout) / (1 - dropout)
    return values[:, 0]


def _start(head: Head, dense: Tensor, generator: torch.Generator) -> None:
    """Fresh layers, and the scale of the features."""
    values = squashed(dense)
    head.mean.copy_(values.mean(dim=0))
    head.spread.copy_(values.std(dim=0) + 1e-2)
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            bound = 1 / layer.in_features**0.5
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.zero_()


@dataclass(frozen=True, eq=False)
class _Rows:
    """All options of all decisions, flat, to be gathered by decision."""

    dense: Tensor
    words: Tensor
    first: Tensor
    sizes: Tensor
    chosen: Tensor

    @classmethod
    def of(cls, options: Sequence[Options], words: Tensor) -> "_Rows":
        sizes = torch.tensor([len(given.dense) for given in options])
        return cls(
            dense=torch.from_numpy(np.concatenate([given.dense for given in options])),
            words=words,
            first=sizes.cumsum(0) - sizes,
            sizes=sizes,
            chosen=torch.tensor([given.chosen for given in options]),
        )

    def of_decisions(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dense (O, D), words (O,), segments (O,) and the row chosen in each decision (N,)."""
        sizes = self.sizes[places]
        segments = torch.repeat_interleave(torch.arange(len(places)), sizes)
        begins = sizes.cumsum(0) - sizes
        rows = torch.arange(len(segments)) + (self.first[places] - begins)[segments]
        return self.dense[rows], self.words[rows], segments, begins + self.chosen[places]
