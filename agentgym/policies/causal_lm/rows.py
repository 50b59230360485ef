"""Decided tokens as flat arrays: a conversation is one row as far as it only grew, and rows that begin alike share a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentgym.policies.causal_lm.grammar import Allowed, Choice, Tokens
from agentgym.policies.causal_lm.trees import Tree, planted


@dataclass(frozen=True, eq=False, slots=True)
class Written:
    """A response with what it answers, in tokens exactly as the model saw and wrote them."""

    prompt: Tokens
    response: Tokens

    @property
    def tokens(self) -> Tokens:
        return self.prompt + self.response


@dataclass(frozen=True, eq=False, slots=True)
class TokenChoice:
    """The evidence of a decision: a choice inside a response."""

    written: Written
    choice: Choice


def collated(decisions: Sequence[TokenChoice], *, vocabulary: int, reach: int) -> dict[str, NDArray[Any]]:
    """N decisions as flat arrays.   vocabulary: how many tokens there are.   reach: see `trees.planted`.

    tokens: of R trees, one after another, with parents, ends and positions as in `trees.Tree`, shapes (T,); tree_lengths: shape (R,).
    trees, places: of each decision, its tree and the place of the token before it, shape (N,).
    allowed: tokens to choose from, shape (M,); counts: how many of them each decision has, shape (N,), 0 where it chooses from a large
    set: wide_of, the number of that set, shape (N,), in wide, shape (K, vocabulary).
    chosen: place among the allowed ones, or the token itself where the set is large, shape (N,).
    """
    rows, placed = _rows(decisions)
    trees = planted(rows, reach=reach)
    tree_of = {row: (number, tree.rows[row]) for number, tree in enumerate(trees) for row in tree.rows}
    wide: dict[int, tuple[int, Allowed]] = {}
    for decision in decisions:
        if decision.choice.allowed.is_wide:
            wide.setdefault(id(decision.choice.allowed), (len(wide), decision.choice.allowed))
    masks = np.zeros((len(wide), vocabulary), np.bool_)
    for number, allowed in wide.values():
        masks[number, allowed.ids] = True
    choices = [decision.choice for decision in decisions]
    narrow = [choice.allowed.ids for choice in choices if not choice.allowed.is_wide]
    return {
        **{name: _joined(trees, name) for name in ("tokens", "parents", "ends", "positions")},
        "tree_lengths": np.array([len(tree.tokens) for tree in trees], np.int64),
        "trees": np.array([tree_of[row][0] for row, _ in placed], np.int64),
        "places": np.array([tree_of[row][1][place] for row, place in placed], np.int64),
        "allowed": np.concatenate([np.zeros(0, np.int64), *narrow]),
        "counts": np.array([0 if choice.allowed.is_wide else len(choice.allowed.ids) for choice in choices], np.int64),
        "wide_of": np.array([wide[id(choice.allowed)][0] if choice.allowed.is_wide else 0 for choice in choices], np.int64),
        "wide": masks,
        "chosen": np.array(
            [int(choice.allowed.ids[choice.chosen]) if choice.allowed.is_wide else choice.chosen for choice in choices], np.int64
        ),
    }


def _joined(trees: Sequence[Tree], name: str) -> NDArray[np.int64]:
    return np.array([value for tree in trees for value in getattr(tree, name)], np.int64)


def _rows(decisions: Sequence[TokenChoice]) -> tuple[list[Tokens], list[tuple[int, int]]]:
    """The rows, cut after the last decision, and for each decision its row and the place of the token before it.

    What follows a response in the same conversation continues its row when its prompt begins with exactly the tokens of the row so far;
    responses that were written in the same words to the same prompt share one.
    """
    rows: list[Tokens] = []
    row_of: dict[Tokens, int] = {}
    seen: dict[int, int] = {}
    needed: list[int] = []
    placed = []
    latest: int | None = None
    for decision in decisions:
        written = decision.written
        if id(written) not in seen:
            known = row_of.get(written.tokens)
            if known is None and latest is not None and written.prompt[: len(rows[latest])] == rows[latest]:
                row_of.pop(rows[latest], None)
                rows[latest], known = written.tokens, latest
                row_of[written.tokens] = latest
            elif known is None:
                known = row_of[written.tokens] = len(rows)
                rows.append(written.tokens)
                needed.append(0)
            seen[id(written)] = latest = known
        row = seen[id(written)]
        place = len(written.prompt) + decision.choice.place - 1
        needed[row] = max(needed[row], place + 1)
        placed.append((row, place))
    return [row[:length] for row, length in zip(rows, needed, strict=True)], placed
