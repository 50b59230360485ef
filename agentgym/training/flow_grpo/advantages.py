"""How much better a rollout went than the other rollouts of the same case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.training.flow_grpo.settings import Advantage

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

# Keeps what hardly differs from being blown up to full size.
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Standings:
    """What the values of K sets look like: mean, standard deviation (of the set itself, not of a population) and size, shapes (K,)."""

    means: FloatArray
    deviations: FloatArray
    sizes: IntArray

    @classmethod
    def of(cls, values: FloatArray, sets: IntArray) -> "Standings":
        """values: shape (N,).   sets: the set of each, numbered from 0 without a gap, shape (N,)."""
        sizes = np.bincount(sets)
        means = np.bincount(sets, weights=values) / sizes
        variances = np.bincount(sets, weights=(values - means[sets]) ** 2) / sizes
        return cls(means=means, deviations=np.sqrt(variances), sizes=sizes)

    def advantages(self, values: FloatArray, sets: IntArray, *, advantage: Advantage, spread: float) -> FloatArray:
        """Of values against their sets, shapes (N,), (N,) → (N,); 0 in a set of one.   spread: standard deviation over the batch.

        dr_grpo      v − mean                    Liu et al. 2025 (Dr. GRPO), §3.1: dividing by the deviation would give what is nearly
                                                 always or nearly never solved more weight than the rest
        grpo         (v − mean) ÷ deviation      Shao et al. 2024 (GRPO), eq. 3
        rloo         n ÷ (n − 1) · (v − mean)    v − mean of the others; Ahmadian et al. 2024 (RLOO), §3
        reinforce++  (v − mean) ÷ spread         Hu 2025 (REINFORCE++), with baseline; Liu et al. 2025, "Tricks or traps" (Lite-PPO)
        """
        above = values - self.means[sets]
        match advantage:
            case "dr_grpo":
                return above
            case "grpo":
                return above / (self.deviations[sets] + SMALLEST_DEVIATION)
            case "rloo":
                sizes = self.sizes[sets]
                return above * sizes / np.maximum(sizes - 1, 1)
            case "reinforce++":
                return above / (spread + SMALLEST_DEVIATION)


def group_advantages(returns: FloatArray, group_ids: IntArray, *, advantage: Advantage = "dr_grpo") -> FloatArray:
    """Advantage of each rollout against its group, by the formulas of `Standings.advantages`; by default A_i = r_i − mean of r.

    returns: of each rollout, shape (N,).   group_ids: the case it played, shape (N,).   Result: shape (N,); it sums to 0 in each group.
    "reinforce++" compares with the whole batch instead, (r − mean) ÷ deviation over all N, and sums to 0 there: Hu 2025 (REINFORCE++,
    arXiv 2501.03262). It needs no group, and takes a case that is harder than the others for bad play.
    Raises InsufficientData when a group holds a single rollout: it has nothing to be compared with.
    """
    groups, members, sizes = grouped(group_ids)
    if sizes.size and sizes.min() < 2:
        alone = groups[sizes.argmin()]
        raise InsufficientData(
            f"An advantage compares rollouts of one case; group {alone} has one of {len(returns)}. Play at least two of each."
        )
    sets = np.zeros_like(members) if advantage == "reinforce++" else members
    return Standings.of(returns, sets).advantages(returns, sets, advantage=advantage, spread=float(np.std(returns)))


def term_scores(terms: Sequence[Mapping[str, float]], group_ids: IntArray, *, weights: Mapping[str, float]) -> FloatArray:
    """What each rollout earned when every named reward is put on its group's own scale: s_i = Σ_k w_k · (r_ik − mean of r_k) ÷ deviation.

    terms: of each rollout, N mappings; a name it lacks was worth 0.   weights: by name; 1 where none is given.   Result: shape (N,).
    So a small reward is not drowned by the noise of a large one, and (success, no saving) is told apart from (failure, saving) where the
    sums agree. Liu et al. 2026 (GDPO, arXiv 2601.05242); with advantage "reinforce++" its last step, the division by the batch, follows.
    Raises InvalidInput for a weight of a term nobody earns.
    """
    names = sorted({name for earned in terms for name in earned})
    if unknown := sorted(weights.keys() - set(names)):
        raise InvalidInput(f"term_weights must name terms of the reward, {names!r}; got {unknown!r}. Mend or leave out these names.")
    _, members, _ = grouped(group_ids)
    scores = np.zeros(len(terms))
    for name in names:
        earned = np.array([earned.get(name, 0.0) for earned in terms])
        scores += weights.get(name, 1.0) * Standings.of(earned, members).advantages(earned, members, advantage="grpo", spread=0.0)
    return scores


def varied(returns: FloatArray, group_ids: IntArray) -> NDArray[np.bool_]:
    """Whether the rollout's group has unequal returns: only such a group has a gradient. Shapes (N,), (N,) → (N,)."""
    groups, members, _ = grouped(group_ids)
    lowest = np.full(len(groups), np.inf)
    highest = np.full(len(groups), -np.inf)
    np.minimum.at(lowest, members, returns)
    np.maximum.at(highest, members, returns)
    return (highest > lowest)[members]


def grouped(group_ids: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """The K distinct groups, each rollout's place among them (N,), and how many rollouts each has (K,)."""
    groups, members, sizes = np.unique(group_ids, return_inverse=True, return_counts=True)
    return groups, members, sizes
