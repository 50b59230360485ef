"""What the argument head makes of a state: how sure it is of every argument of every tool."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.planner.arguments import ArgumentTable, Rows
from agentgym.policies.planner.state import Key


class Readings:
    """Scores of all options of an argument table, and what follows for each block.

    probabilities: of all options, shape (Q,).   absent: that nothing fits the argument yet, shape (B,).   surest: of its likeliest
    candidate, 0 without one, shape (B,).
    best: place of that candidate among the options, -1 without one, shape (B,).
    """

    __slots__ = ("absent", "best", "probabilities", "scores", "surest", "table")

    def __init__(self, table: ArgumentTable, scores: NDArray[np.float32]) -> None:
        self.table, self.scores = table, scores
        starts, ends = table.starts[:-1], table.starts[1:] - 1
        if not len(starts):
            self.probabilities = self.absent = self.surest = np.zeros(0, np.float32)
            self.best = np.zeros(0, np.int64)
            return
        sizes = ends + 1 - starts
        weights = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        self.probabilities = weights / np.repeat(np.add.reduceat(weights, starts), sizes)
        self.absent = self.probabilities[ends]
        self.best = np.array([int(scores[start:end].argmax()) if end > start else -1 for start, end in zip(starts, ends, strict=True)])
        self.surest = np.where(self.best >= 0, self.probabilities[starts + np.maximum(self.best, 0)], 0)

    def of_block(self, block: int) -> NDArray[np.float32]:
        return self.scores[self.table.starts[block] : self.table.starts[block + 1]]

    def shares(self, marks: NDArray[np.float32]) -> Rows:
        """For each block the probability of the options that are marked.   marks: 0 or 1, shape (Q, K).   Result: shape (B, K)."""
        if not len(self.absent):
            return np.zeros((0, marks.shape[1]), np.float32)
        return np.add.reduceat(self.probabilities[:, None] * marks, self.table.starts[:-1], axis=0)

    def best_rows(self) -> Rows:
        """The features of each block's likeliest candidate; of leaving it out where there is none, shape (B, ARGUMENT_FEATURES)."""
        starts, ends = self.table.starts[:-1], self.table.starts[1:] - 1
        return self.table.dense[np.where(self.best >= 0, starts + self.best, ends)]

    def best_key(self, block: int) -> Key:
        return self.table.keys(block)[self.best[block]]

    def possible(self, block: int, taken: Collection[Key]) -> NDArray[np.intp]:
        """Places of the options left: not nothing where a value is required, not what another argument took unless only that is left."""
        keys = self.table.keys(block)
        free = [place for place, key in enumerate(keys) if key not in taken] if taken else list(range(len(keys)))
        places = free or list(range(len(keys)))
        must_be_given = self.table.layout.is_required[block] and keys
        return np.array(places if must_be_given else [*places, len(keys)], np.intp)
