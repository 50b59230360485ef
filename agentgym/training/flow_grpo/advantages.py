"""How much better a rollout went than the other rollouts of the same case, and from which decision on."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from agentgym.errors import InsufficientData

FloatArray = NDArray[np.float64]


def group_advantages(returns: FloatArray, group_ids: NDArray[np.int64]) -> FloatArray:
    """Advantage of each rollout against its group: A_i = r_i − mean of r over the group.

    returns: of each rollout, shape (N,).   group_ids: the case it played, shape (N,).   Result: shape (N,); it sums to 0 in each group.
    Shao et al. 2024 (GRPO), eq. 3, without the division by the group's standard deviation, which gives cases that are nearly always or
    nearly never solved more weight than the others (Liu et al. 2025, Dr. GRPO, §3.1).
    Raises InsufficientData when a group holds a single rollout: it has nothing to be compared with.
    """
    groups, members, sizes = _grouped(group_ids)
    if sizes.size and sizes.min() < 2:
        alone = groups[sizes.argmin()]
        raise InsufficientData(
            f"An advantage compares rollouts of one case; group {alone} has one of {len(returns)}. Play at least two of each."
        )
    means = np.bincount(members, weights=returns, minlength=len(groups)) / sizes
    return returns - means[members]


def path_advantages(returns: FloatArray, group_ids: NDArray[np.int64], paths: Sequence[Sequence[Hashable]]) -> list[FloatArray]:
    """Advantage of each decision: A_it = r_i − mean of r over the rollouts of the group that came to decision t the same way.

    returns, group_ids: shapes (N,).   paths: what each rollout decided, in order.   Result: for each rollout one advantage a decision.
    Rollouts of a group see the same customer and the same random numbers, so equal decisions led to the same point. The first decision is
    compared with the whole group, as in `group_advantages`; a later one only with those that faced it, so that a good decision is not
    blamed for what went wrong before. Where a rollout goes on alone, it is compared with those it last shared a point with.
    Feng et al. 2025 (GiGPO), eq. 7, undiscounted, with everything decided so far as the anchor state and without the rollout's own term.
    """
    points = _points(group_ids, paths)
    flat = np.concatenate([np.array(visited, dtype=np.int64) for visited in points]) if points else np.zeros(0, np.int64)
    visits = np.bincount(flat)
    totals = np.bincount(flat, weights=np.repeat(returns, [len(visited) for visited in points]))
    means = totals / np.maximum(visits, 1)
    return [value - _last_shared(means[visited], visits[visited]) for value, visited in zip(returns, points, strict=True)]


def varied(returns: FloatArray, group_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the rollout's group has unequal returns: only such a group has a gradient. Shapes (N,), (N,) → (N,)."""
    groups, members, _ = _grouped(group_ids)
    lowest = np.full(len(groups), np.inf)
    highest = np.full(len(groups), -np.inf)
    np.minimum.at(lowest, members, returns)
    np.maximum.at(highest, members, returns)
    return (highest > lowest)[members]


def _points(group_ids: NDArray[np.int64], paths: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """For each rollout the numbers of the points it decided at; equal numbers mean the same group and the same decisions before."""
    numbers: dict[tuple[int, Hashable], int] = {}
    points = []
    for group_id, path in zip(group_ids, paths, strict=True):
        visited = [numbers.setdefault((-1 - int(group_id), None), len(numbers))]
        for choice in path[:-1]:
            visited.append(numbers.setdefault((visited[-1], choice), len(numbers)))
        points.append(visited[: len(path)])
    return points


def _last_shared(means: FloatArray, visits: NDArray[np.int64]) -> FloatArray:
    """Along one path, the mean at the last point that other rollouts passed too. Shapes (T,), (T,) → (T,)."""
    # The first point is the group's, which `varied` has found to hold at least two.
    shared = np.maximum.accumulate(np.where(visits > 1, np.arange(len(visits)), 0))
    return means[shared]


def _grouped(group_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The K distinct groups, each rollout's place among them (N,), and how many rollouts each has (K,)."""
    groups, members, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    return groups, members, sizes
