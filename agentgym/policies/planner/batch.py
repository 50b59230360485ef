"""Decisions as flat arrays, the form in which the network scores them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentgym.policies.planner.acts import ACT_FEATURES
from agentgym.policies.planner.arguments import ARGUMENT_FEATURES, ArgumentTable

HEADS: Final = {"act": ACT_FEATURES, "argument": ARGUMENT_FEATURES}


@dataclass(frozen=True, eq=False, slots=True)
class Options:
    """The options of one decision, as a head scores them.

    dense: shape (O, D).   cells: hashed words in bags, shape (B, w).   links: which bags belong to which option, as (option, bag), shape
    (L, 2); None where each option has its own.   chosen: which option was taken.
    cut: where every row of cells is cut into two bags, numbered in order; None where it is one.   voices: which voice of the head each
    bag speaks with, shape (B,) or (2 B,); None where there is one.
    """

    head: str
    dense: NDArray[np.float32]
    cells: NDArray[np.int32]
    links: NDArray[np.int32] | None = None
    chosen: int = 0
    cut: int | None = None
    voices: NDArray[np.int8] | None = None
    memo: dict[bytes, "Options"] = field(default_factory=dict, repr=False)

    @property
    def option_links(self) -> NDArray[np.int32]:
        if self.links is not None:
            return self.links
        return _same_place(len(self.dense))

    @property
    def widths(self) -> NDArray[np.int64]:
        """How many words each bag has."""
        return _widths(*self.cells.shape, self.cut)

    @property
    def bag_voices(self) -> NDArray[np.int8]:
        return np.zeros(len(self.widths), np.int8) if self.voices is None else self.voices

    def kept(self, possible: NDArray[np.intp], chosen: int) -> "Options":
        """These options without the impossible ones; `chosen` and `possible` are places among all of them.

        What is kept twice is made once: decisions between the same options share their arrays.
        """
        known = self.memo.get(possible.tobytes())
        if known is None:
            known = self.memo[possible.tobytes()] = self._without_others(possible)
        return replace(known, chosen=int(np.searchsorted(possible, chosen)))

    def _without_others(self, possible: NDArray[np.intp]) -> "Options":
        if self.links is None:
            return Options(self.head, self.dense[possible], self.cells[possible])
        moved = np.full(len(self.dense), -1, np.int32)
        moved[possible] = np.arange(len(possible), dtype=np.int32)
        links = self.links[moved[self.links[:, 0]] >= 0]
        links = np.stack([moved[links[:, 0]], links[:, 1]], axis=1)
        return Options(self.head, self.dense[possible], self.cells, links, cut=self.cut, voices=self.voices)


@lru_cache(maxsize=512)
def _same_place(count: int) -> NDArray[np.int32]:
    return np.repeat(np.arange(count, dtype=np.int32)[:, None], 2, axis=1)


@lru_cache(maxsize=4096)
def _widths(rows: int, width: int, cut: int | None) -> NDArray[np.int64]:
    return np.full(rows, width) if cut is None else np.tile([cut, width - cut], rows)


def collated(decisions: Sequence[Options], *, heads: Collection[str] = tuple(HEADS)) -> dict[str, NDArray[Any]]:
    """The options of N decisions as flat arrays, by head, for these heads.

    HEAD_dense: (O, D).   HEAD_cells: (C,) with HEAD_offsets: (B,), where each bag begins, and HEAD_voices: (B,).
    HEAD_link_options, HEAD_link_bags: (L,).
    HEAD_segments: (O,), the decision of each option.   HEAD_chosen, HEAD_places: of each decision, its taken option and its place in N.
    """
    return {
        f"{head}_{field}": values
        for head in heads
        for field, values in _flat([(place, given) for place, given in enumerate(decisions) if given.head == head], HEADS[head]).items()
    }


def collated_once(decisions: Sequence[Options]) -> dict[str, NDArray[Any]]:
    """As `collated`, with options that several decisions share laid out once: HEAD_segments number the distinct sets of options.

    HEAD_sets: the set of each decision.   HEAD_chosen, HEAD_places: as in `collated`.
    """
    fields: dict[str, NDArray[Any]] = {}
    for head in HEADS:
        own = [(place, given) for place, given in enumerate(decisions) if given.head == head]
        distinct = {id(given.dense): given for _, given in own}
        number = {key: place for place, key in enumerate(distinct)}
        first = np.cumsum([0, *(len(given.dense) for given in distinct.values())])
        sets = np.array([number[id(given.dense)] for _, given in own], np.int64)
        fields |= collated(list(distinct.values()), heads=(head,))
        fields[f"{head}_sets"] = sets
        fields[f"{head}_chosen"] = first[sets] + np.array([given.chosen for _, given in own], np.int64)
        fields[f"{head}_places"] = np.array([place for place, _ in own], np.int64)
    return fields


def _flat(decisions: Sequence[tuple[int, Options]], features: int) -> dict[str, NDArray[Any]]:
    places = np.array([place for place, _ in decisions], np.int64)
    options = [given for _, given in decisions]
    sizes = np.array([len(given.dense) for given in options], np.int64)
    bags = np.array([len(given.widths) for given in options], np.int64)
    widths = np.concatenate([np.zeros(0, np.int64), *(given.widths for given in options)])
    first_option, first_bag = np.cumsum(sizes) - sizes, np.cumsum(bags) - bags
    linked = np.concatenate([np.zeros((0, 2), np.int32), *(given.option_links for given in options)])
    per_link = np.array([len(given.option_links) for given in options], np.int64)
    return {
        "dense": np.concatenate([np.zeros((0, features), np.float32), *(given.dense for given in options)]),
        "cells": np.concatenate([np.zeros(0, np.int32), *(given.cells.ravel() for given in options)]),
        "offsets": (np.cumsum(widths) - widths).astype(np.int32),
        "voices": np.concatenate([np.zeros(0, np.int8), *(given.bag_voices for given in options)]),
        "link_options": linked[:, 0] + np.repeat(first_option, per_link),
        "link_bags": linked[:, 1] + np.repeat(first_bag, per_link),
        "segments": np.repeat(np.arange(len(options)), sizes),
        "chosen": first_option + np.array([given.chosen for given in options], np.int64),
        "places": places,
    }


def scoring_batch(tables: Sequence[ArgumentTable]) -> dict[str, NDArray[Any]]:
    """The options of all arguments of these tables, as a head takes them; words that tools share are looked up once."""
    free = [table.free_cells.shape for table in tables]
    choices = [table.choice_cells.shape for table in tables]
    shapes = np.array([shape for pair in zip(free, choices, strict=True) for shape in pair], np.int64).reshape(-1, 2)
    widths = np.repeat(shapes[:, 1], shapes[:, 0])
    rows_of_table = shapes[:, 0].reshape(-1, 2).sum(axis=1)
    first = np.cumsum(rows_of_table) - rows_of_table
    links = [table.rows + start for table, start in zip(tables, first.tolist(), strict=True)]
    cells = [cells.ravel() for table in tables for cells in (table.free_cells, table.choice_cells)]
    dense = np.concatenate([table.dense for table in tables])
    return {
        "dense": dense,
        "cells": np.concatenate(cells),
        "offsets": np.cumsum(widths, dtype=np.int32) - widths.astype(np.int32),
        "link_options": np.arange(len(dense)),
        "link_bags": np.concatenate(links),
    }


def tensors(batch: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in batch.items()}


def of_head(name: str, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The fields of one head, without its name."""
    return {key.removeprefix(f"{name}_"): values for key, values in batch.items() if key.startswith(f"{name}_")}
