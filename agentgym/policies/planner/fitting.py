"""Fits one head of the planner's network to decisions that were right.

The hashed table is fitted alone first, in folds: what it says of a decision comes from a table that has not seen that decision's customer,
so that the layers above learn how far words can be trusted. The layers are fitted in folds too: how sure they are of what they never saw
is what the weight of the switch is chosen on, and what a second head that builds on this one should learn from. The table and the
layers that stay are fitted on everything.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentgym.policies.planner.batch import Options
from agentgym.policies.planner.network import Head, segment_log_softmax, squashed
from agentgym.policies.planner.word_table import BATCH, Table, fit_table, words_of_options

FOLDS: Final = 3
Scores = NDArray[np.float32]
Words = Sequence[Scores]
"""What a table says of the options of each decision."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How a head is fitted.

    table_epochs, layer_epochs: of the table and the layers; more where they are fewer than table_steps, layer_steps batches.
    table_rate, layer_rate: how fast.   weight_decay, dropout: of the layers.
    rest_weight: what the choice among the options without the switch counts, against the choice between all of them and each other one.
    calibrate: chooses the weight of the switch, given its column, decisions, and what a head that never saw them makes of their options.
    """

    table_epochs: int
    table_steps: int
    table_rate: float
    layer_epochs: int
    layer_steps: int
    layer_rate: float
    weight_decay: float
    dropout: float
    rest_weight: float
    calibrate: Callable[[int, Sequence[Options], Sequence[Scores]], float]


@dataclass(frozen=True, eq=False)
class Examples:
    """Decisions with the right choice.

    fold: of each decision, shape (N,).   is_measured: those that count for calibration, shape (N,).
    """

    options: Sequence[Options]
    fold: NDArray[np.int64]
    is_measured: NDArray[np.bool_]


HeadState = Mapping[str, Tensor]
"""A head's weights by name."""
Blank = Callable[[Tensor, Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""Blanks some of what is known of some decisions while fitting: (dense, words, segments, generator) to dense and words."""


def fit_head(
    head: Head, examples: Examples, settings: FitSettings, *, seed: int, on_progress: Callable[[float], None], blank: Blank | None = None
) -> tuple[HeadState, ...]:
    """Fits the head in place, table and layers; gives the heads of the folds, each fitted without its fold."""
    options, decisions = examples.options, np.arange(len(examples.options))
    words: list[Scores] = [np.empty((0, head.voices), np.float32)] * len(decisions)
    tables = []

    def table(places: NDArray[np.int64]) -> Table:
        return table_of(options, places, settings, cells=len(head.table), switch=head.switch, seed=seed)

    for fold in range(FOLDS):
        tables.append(table(decisions[examples.fold != fold]))
        own = decisions[examples.fold == fold]
        for place, said in zip(own, words_of_options(tables[fold], options, own, voices=head.voices), strict=True):
            words[place] = said
        on_progress((fold + 1) / (2 * FOLDS + 2))
    states, scores = [], dict[int, Scores]()
    for fold, told in enumerate(tables):
        own, others = decisions[examples.fold == fold], decisions[examples.fold != fold]
        head.write_table(told)
        fit_layers(head, options, words, settings, seed=seed, places=others if len(others) else decisions, blank=blank)
        states.append({name: values.clone() for name, values in head.state_dict().items()})
        if len(others):
            scores |= {place: _scored(head, options[place], words[place]) for place in own[examples.is_measured[own]].tolist()}
        on_progress((FOLDS + fold + 1) / (2 * FOLDS + 2))
    head.write_table(table(decisions))
    fit_layers(head, options, words, settings, seed=seed, places=decisions, blank=blank)
    if scores:
        weight = settings.calibrate(head.switch, [options[place] for place in scores], list(scores.values()))
        head.calibration.data.fill_(weight)
    on_progress(1.0)
    return tuple({**state, "calibration": head.calibration.data.clone()} for state in states)


def table_of(options: Sequence[Options], places: NDArray[np.int64], settings: FitSettings, *, cells: int, switch: int, seed: int) -> Table:
    """The table of words that is fitted to the decisions at `places`."""
    return fit_table(
        options,
        places,
        cells=cells,
        epochs=settings.table_epochs,
        least_steps=settings.table_steps,
        rate=settings.table_rate,
        switch=switch,
        rest_weight=settings.rest_weight,
        seed=seed,
    )


def _scored(head: Head, options: Options, words: Scores) -> Scores:
    with torch.no_grad():
        return np.asarray(head.imitated({"dense": torch.from_numpy(options.dense)}, torch.from_numpy(words)).numpy())


# --- layers ---


def fit_layers(
    head: Head,
    options: Sequence[Options],
    words: Words,
    settings: FitSettings,
    *,
    seed: int,
    places: NDArray[np.int64],
    blank: Blank | None = None,
) -> None:
    """Fits the layers in place on the decisions at `places`, given what the tables say of their options."""
    generator = torch.Generator().manual_seed(seed)
    rows = _Rows.of(options, words)
    _start(head, rows.dense, generator)
    places_left = torch.from_numpy(places)
    parameters = list(head.layers.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=settings.layer_rate, weight_decay=settings.weight_decay)
    batches = math.ceil(len(places_left) / BATCH)
    # A part of the decisions gets its part of the steps, and so as many epochs as all of them would.
    least_steps = settings.layer_steps * len(places) / len(options)
    epochs = max(settings.layer_epochs, math.ceil(least_steps / batches))
    step = 0
    for _ in range(epochs):
        order = places_left[torch.randperm(len(places_left), generator=generator)]
        for chunk in torch.split(order, BATCH):
            for group in optimizer.param_groups:
                group["lr"] = settings.layer_rate * (1 - step / (epochs * batches)) + 1e-5
            dense, said, segments, chosen = rows.of_decisions(chunk)
            is_rest = dense[:, head.switch] <= 0
            if blank is not None:
                dense, said = blank(dense, said, segments, generator)
            scores = head.layers(head.inputs(dense, said), _dropped(settings.dropout, generator))
            loss = torch.stack([_loss(member, segments, chosen, is_rest, settings.rest_weight) for member in scores]).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            step += 1


def _start(head: Head, dense: Tensor, generator: torch.Generator) -> None:
    """Fresh layers, and the scale of the features."""
    values = squashed(dense)
    head.mean.copy_(values.mean(dim=0))
    head.spread.copy_(values.std(dim=0) + 1e-2)
    head.layers.begin(generator)


def _loss(scores: Tensor, segments: Tensor, chosen: Tensor, is_rest: Tensor, rest_weight: float) -> Tensor:
    """Mean over decisions of -log P(chosen), a choice among the rest weighed: P(one of the rest) · P(chosen | rest) ** rest_weight."""
    count = len(chosen)
    log_probability = segment_log_softmax(scores, segments, count)[chosen]
    if rest_weight < 1:
        within = segment_log_softmax(scores.masked_fill(~is_rest, -1e4), segments, count)[chosen]
        log_probability = log_probability - (1 - rest_weight) * torch.where(is_rest[chosen], within, 0.0)
    return -log_probability.mean()


def _dropped(share: float, generator: torch.Generator) -> Callable[[Tensor], Tensor] | None:
    """Blanks this share of hidden values; None when it is none."""

    def drop(values: Tensor) -> Tensor:
        return values * (torch.rand(values.shape, generator=generator) >= share) / (1 - share)

    return drop if share else None


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
