"""From which decision on a rollout went better than others: what each of its decisions is compared with."""

from collections.abc import Hashable, Sequence

import numpy as np

from agentgym.training.flow_grpo.advantages import FloatArray, IntArray, Standings
from agentgym.training.flow_grpo.settings import Advantage


def path_advantages(
    returns: FloatArray, group_ids: IntArray, paths: Sequence[Sequence[Hashable]], *, advantage: Advantage = "dr_grpo"
) -> list[FloatArray]:
    """Advantage of each decision against the rollouts of the group that came to it the same way; by default A_it = r_i − mean of their r.

    returns, group_ids: shapes (N,).   paths: what each rollout decided, in order.   Result: for each rollout one advantage a decision.
    Rollouts of a group see the same customer and the same random numbers, so equal decisions led to the same point. The first decision is
    compared with the whole group, as in `group_advantages`; a later one only with those that faced it, so that a good decision is not
    blamed for what went wrong before. Where a rollout goes on alone, it is compared with those it last shared a point with.
    The advantage's formula takes mean, deviation and size of those compared with; "reinforce++" the deviation of all N returns.
    Feng et al. 2025 (GiGPO), eq. 7, undiscounted, with everything decided so far as the anchor state and without the rollout's own term.
    """
    points = _points(group_ids, paths)
    flat = np.concatenate([np.array(visited, dtype=np.int64) for visited in points]) if points else np.zeros(0, np.int64)
    standings = Standings.of(np.repeat(returns, [len(visited) for visited in points]), flat)
    spread = float(np.std(returns)) if len(returns) else 0.0
    given = []
    for value, visited in zip(returns, points, strict=True):
        compared = _last_shared(np.array(visited, dtype=np.int64), standings.sizes)
        given.append(standings.advantages(np.full(len(visited), value), compared, advantage=advantage, spread=spread))
    return given


def keyed_advantages(
    values: Sequence[FloatArray], keys: Sequence[Sequence[Hashable]], *, advantage: Advantage = "dr_grpo"
) -> list[FloatArray]:
    """Advantage of each turn against all turns with the same key; 0 where no other has it.

    values, keys: of each rollout, one entry a turn.   Result: the same shapes; it sums to 0 over a key.   "reinforce++" takes the
    deviation over all turns.
    Keyed on group and state it is Feng et al. 2025 (GiGPO), eq. 7; on group and turn, the turn-level part of Zeng et al. 2025 (2505.11821).
    """
    numbers: dict[Hashable, int] = {}
    sets = np.array([numbers.setdefault(key, len(numbers)) for turns in keys for key in turns], dtype=np.int64)
    flat = np.concatenate([*values, np.zeros(0)])
    spread = float(np.std(flat)) if flat.size else 0.0
    given = Standings.of(flat, sets).advantages(flat, sets, advantage=advantage, spread=spread)
    return np.split(given, np.cumsum([len(turns) for turns in values])[:-1])


def returns_to_go(rewards: Sequence[float], *, discount: float) -> FloatArray:
    """Of each turn, what it and the later ones earned: R_t = Σ_{k ≥ t} discount^(k − t) · r_k. Shapes (T,) → (T,)."""
    earned = np.zeros(len(rewards))
    later = 0.0
    for turn in reversed(range(len(rewards))):
        later = rewards[turn] + discount * later
        earned[turn] = later
    return earned


def _points(group_ids: IntArray, paths: Sequence[Sequence[Hashable]]) -> list[list[int]]:
    """For each rollout the numbers of the points it decided at; equal numbers mean the same group and the same decisions before."""
    numbers: dict[tuple[int, Hashable], int] = {}
    points = []
    for group_id, path in zip(group_ids, paths, strict=True):
        visited = [numbers.setdefault((-1 - int(group_id), None), len(numbers))]
        for choice in path[:-1]:
            visited.append(numbers.setdefault((visited[-1], choice), len(numbers)))
        points.append(visited[: len(path)])
    return points


def _last_shared(visited: IntArray, visits: IntArray) -> IntArray:
    """Along one path, at each point the last one up to there that other rollouts passed too. Shapes (T,), (K,) → (T,)."""
    # The first point is the group's, which holds at least two where something is learned.
    shared = np.maximum.accumulate(np.where(visits[visited] > 1, np.arange(len(visited)), 0))
    return visited[shared]
