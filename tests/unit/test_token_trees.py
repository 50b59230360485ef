import numpy as np

from agentgym.policies.causal_lm.grammar import Tokens
from agentgym.policies.causal_lm.trees import LARGEST, Tree, planted

REACH = 600
PROMPT: Tokens = tuple(range(100, 120))
ROWS: list[Tokens] = [(*PROMPT, 1, 2, 3), (*PROMPT, 1, 4), (*PROMPT, 5), (7, 8)]


def tree_of(number: int, trees: list[Tree]) -> Tree:
    return next(tree for tree in trees if number in tree.rows)


def test_every_row_can_be_read_off_its_tree():
    trees = planted(ROWS, reach=REACH)
    for number, row in enumerate(ROWS):
        tree = tree_of(number, trees)
        assert [tree.tokens[place] for place in tree.rows[number]] == list(row)
        assert [tree.positions[place] for place in tree.rows[number]] == list(range(len(row)))


def test_what_rows_share_stands_once():
    trees = planted(ROWS, reach=REACH)
    assert sorted(len(tree.tokens) for tree in trees) == [2, len(PROMPT) + 5]
    assert planted([PROMPT, PROMPT], reach=REACH)[0].tokens == list(PROMPT)


def test_a_token_follows_from_those_on_its_branch_and_from_no_other():
    tree = tree_of(0, planted(ROWS, reach=REACH))
    ends = np.array(tree.ends)
    for branch in tree.rows.values():
        last = branch[-1]
        seen = np.flatnonzero((np.arange(len(ends)) <= last) & (last < ends))
        assert seen.tolist() == branch.tolist()
        assert [tree.parents[place] for place in branch[1:]] == branch[:-1].tolist()


def test_rows_that_share_little_or_would_make_a_tree_too_large_stand_apart():
    assert len(planted([(1, 2, 3), (1, 2, 4)], reach=REACH)) == 2
    begin = tuple(range(40))
    many = [(*begin, *range(1000 * number, 1000 * number + 40)) for number in range(1, 80)]
    assert all(len(tree.tokens) <= LARGEST for tree in planted(many, reach=10**9))
    assert len(planted(many, reach=10**9)) > 1


def test_rows_share_a_tree_as_long_as_that_costs_less_than_looking_at_each_other():
    begin = tuple(range(300))
    rows = [(*begin, *range(1000 * number, 1000 * number + 150)) for number in range(1, 8)]
    assert [len(tree.tokens) for tree in planted(rows, reach=0)] == [600, 600, 600, 450]
    assert [len(tree.tokens) for tree in planted(rows, reach=1000)] == [900, 750]
    assert max(len(tree.tokens) for tree in planted(rows, reach=10**9)) == 300 + 7 * 150
