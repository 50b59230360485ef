"""How much better a rollout went than the other rollouts of the same case."""

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


def varied(returns: FloatArray, group_ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the rollout's group has unequal returns: only such a group has a gradient. Shapes (N,), (N,) → (N,)."""
    groups, members, _ = _grouped(group_ids)
    lowest = np.full(len(groups), np.inf)
    highest = np.full(len(groups), -np.inf)
    np.minimum.at(lowest, members, returns)
    np.maximum.at(highest, members, returns)
    return (highest > lowest)[members]


def _grouped(group_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The K distinct groups, each rollout's place among them (N,), and how many rollouts each has (K,)."""
    groups, members, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    return groups, members, sizes
