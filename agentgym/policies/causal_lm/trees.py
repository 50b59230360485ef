"""Rows of tokens that begin alike, laid out as trees: what they share stands once, and is computed once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.causal_lm.grammar import Tokens

LARGEST = 2048
"""Tokens of a tree, unless a single row has more: what each of them sees is kept in memory, for each pair."""
_WORTH_SHARING = 16
Places = NDArray[np.int64]


@dataclass(eq=False, slots=True)
class Tree:
    """A tree in the order in which one would walk it, branch by branch; so all that hangs on a token follows it directly.

    parents: place of the token before each, its own where there is none.   ends: of each token, where what hangs on it ends: token i
    follows from token j when j <= i < ends[j].   positions: how many tokens stand before each on its branch.   rows: place of the tokens of
    each row.
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rows: dict[int, Places] = field(default_factory=dict)
    _branch: list[int] = field(default_factory=list)

    def add(self, number: int, row: Tokens, shared: int) -> None:
        """Adds a row that has its first `shared` tokens in common with the one added last, and no more with any before it."""
        self.close(shared)
        for position in range(shared, len(row)):
            self.parents.append(self._branch[-1] if self._branch else 0)
            self._branch.append(len(self.tokens))
            self.positions.append(position)
            self.ends.append(0)
            self.tokens.append(row[position])
        self.rows[number] = np.array(self._branch, np.int64)

    def close(self, depth: int = 0) -> None:
        """Nothing more hangs on the tokens of the last row from this depth on."""
        for place in self._branch[depth:]:
            self.ends[place] = len(self.tokens)
        del self._branch[depth:]


def planted(rows: Sequence[Tokens], *, reach: int) -> list[Tree]:
    """Trees that hold every row; rows share a tree when that saves something.

    reach: how many others a token can look at for the price of all else that is computed for it.
    """
    trees: list[Tree] = []
    before: Tokens = ()
    # In this order a row has most in common with the one before it.
    for number in sorted(range(len(rows)), key=rows.__getitem__):
        row = rows[number]
        shared = _common(before, row)
        if not trees or shared < _WORTH_SHARING or not _pays(len(trees[-1].tokens), len(row), shared, reach):
            if trees:
                trees[-1].close()
            trees.append(Tree())
            shared = 0
        trees[-1].add(number, row, shared)
        before = row
    if trees:
        trees[-1].close()
    return trees


def _pays(tree: int, row: int, shared: int, reach: int) -> bool:
    """Whether a row still belongs in a tree of so many tokens.

    A tree saves what is shared, but everything in it is compared with everything: m rows that share s tokens and add n each cost
    reach · (s + m·n) + (s + m·n)², which is least for a row where m·n = √(s · (reach + s)).
    """
    grown = tree + row - shared
    return grown == tree or grown <= min(LARGEST, shared + math.sqrt(shared * (reach + shared)))


def _common(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(np.array(one[:length]) != np.array(other[:length]))
    return int(differs[0]) if len(differs) else length
