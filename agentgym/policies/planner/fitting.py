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

from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.network import WORDS_SCALE, Head, segment_log_softmax, squashed
from agentgym.policies.planner.word_table import BATCH, Table, fit_table, words_of_options

FOLDS: Final = 3
Words = Sequence[NDArray[np.float32]]
"""What a table says of the options of each decision."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a head is fitted.

    table_epochs, layer_epochs: of the table and the layers; more where they are fewer than table_steps, layer_steps batches.
    table_rate, layer_rate: how fast.
    weight_decay, dropout: of the layers.   calibrate: chooses the weight of the head's switch on held-out decisions.
    """

    table_epochs: int
    table_steps: int
    table_rate: float
    layer_epochs: int
    layer_steps: int
    layer_rate: float
    weight_decay: float
    dropout: float
    calibrate: Callable[[Head, Sequence[Options], Sequence[Tensor]], float]


@dataclass(frozen=True, eq=False)
class Examples:
    """Decisions with the right choice.

    fold: of each decision, shape (N,).   is_held_out: those that a calibration may be chosen on, shape (N,).   is_measured: those that
    count for it, shape (N,).
    """

    options: Sequence[Options]
    fold: NDArray[np.int64]
    is_held_out: NDArray[np.bool_]
    is_measured: NDArray[np.bool_]


def fit_head(
    head: Head,
    examples: Examples,
    settings: FitSettings,
    *,
    seed: int,
    on_progress: Callable[[float], None],
    drop: "DropFeatures | None" = None,
) -> tuple[Table, ...]:
    """Fits the head in place, table and layers; gives the tables of the folds, each fitted without its fold, shape (cells,)."""
    decisions = np.arange(len(examples.options))
    words: list[NDArray[np.float32]] = [np.empty((0, head.voices), np.float32)] * len(decisions)
    tables = []
    for fold in range(FOLDS):
        others, own = decisions[examples.fold != fold], decisions[examples.fold == fold]
        tables.append(_table(head, examples, others, settings, seed))
        for place, said in zip(own, words_of_options(tables[fold], examples.options, own, voices=head.voices), strict=True):
            words[place] = said
        on_progress((fold + 1) / (FOLDS + 2))
    head.write_table(_table(head, examples, decisions, settings, seed))
    on_progress((FOLDS + 1) / (FOLDS + 2))
    _calibrate(head, examples, words, settings, seed=seed, drop=drop)
    fit_layers(head, examples.options, words, settings, seed=seed, drop=drop)
    on_progress(1.0)
    return tuple(tables)


def _table(head: Head, examples: Examples, places: NDArray[np.int64], settings: FitSettings, seed: int) -> Table:
    return fit_table(
        examples.options,
        places,
        cells=len(head.table),
        epochs=settings.table_epochs,
        least_steps=settings.table_steps,
        rate=settings.table_rate,
        seed=seed,
    )


def _calibrate(head: Head, examples: Examples, words: Words, settings: FitSettings, *, seed: int, drop: "DropFeatures | None") -> None:
    held_out: list[int] = np.flatnonzero(examples.is_held_out & examples.is_measured).tolist()
    if not held_out or examples.is_held_out.all():
        return
    fit_layers(head, examples.options, words, settings, seed=seed, places=np.flatnonzero(~examples.is_held_out), drop=drop)
    options = [examples.options[place] for place in held_out]
    weight = settings.calibrate(head, options, [torch.from_numpy(words[place]) for place in held_out])
    head.calibration.data.fill_(weight)


DropFeatures = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""Blanks some features of some decisions while fitting: (dense, segments, generator) to dense."""


# --- layers ---


def fit_layers(
    head: Head,
    options: Sequence[Options],
    words: Words,
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
    batches = math.ceil(len(places_left) / BATCH)
    epochs = max(settings.layer_epochs, math.ceil(settings.layer_steps / batches))
    step = 0
    for _ in range(epochs):
        order = places_left[torch.randperm(len(places_left), generator=generator)]
        for chunk in torch.split(order, BATCH):
            for group in optimizer.param_groups:
                group["lr"] = settings.layer_rate * (1 - step / (epochs * batches)) + 1e-5
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
    values = torch.cat([((squashed(dense) - head.mean) / head.spread).clamp(-6, 6), said / WORDS_SCALE], dim=1)
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
    def of(cls, options: Sequence[Options], words: Words) -> "_Rows":
        sizes = torch.tensor([len(given.dense) for given in options])
        return cls(
            dense=torch.from_numpy(np.concatenate([given.dense for given in options])),
            words=torch.from_numpy(np.concatenate(words)),
            first=sizes.cumsum(0) - sizes,
            sizes=sizes,
            chosen=torch.tensor([given.chosen for given in options]),
        )

    def of_decisions(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """dense (O, D), words (O, V), segments (O,) and the row chosen in each decision (N,)."""
        sizes = self.sizes[places]
        segments = torch.repeat_interleave(torch.arange(len(places)), sizes)
        begins = sizes.cumsum(0) - sizes
        rows = torch.arange(len(segments)) + (self.first[places] - begins)[segments]
        return self.dense[rows], self.words[rows], segments, begins + self.chosen[places]
