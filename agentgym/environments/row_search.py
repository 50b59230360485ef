"""Results that list things, put together from the rows that other lists held."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import combinations

from pydantic import JsonValue

from agentgym.environments.result_rows import Row, RowTable, Told
from agentgym.environments.result_shapes import ResultShape
from agentgym.environments.row_completion import Proof
from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical

# A broader question leaves out at most this many of the arguments asked for; of many arguments only one, as the ways to leave out grow.
BROADER_BY = 3
FEW_ARGUMENTS = 12
# Answers of different recordings to one question: a second one is needed only to judge the first.
ANSWERS_OF_A_QUESTION = 2

_Question = tuple[str, frozenset[tuple[str, str]]]


class RowSearch:
    """Filters rows by the arguments of a search.

    A list that answers a broader question in full is filtered: what it leaves is complete, and may be nothing. Else the rows of all lists
    that fit are gathered, which may be some of those that exist. Either is done where it proved right in the recordings.
    """

    def __init__(self, shapes: Mapping[str, ResultShape], table: RowTable) -> None:
        self._shapes = shapes
        self._table = table
        self._full: defaultdict[_Question, list[tuple[int, Told]]] = defaultdict(list)
        self._proofs: defaultdict[tuple[str, str, frozenset[str]], Proof] = defaultdict(Proof)

    def add(self, told: Told, *, recording: int) -> None:
        if self._is_full(told):
            answers = self._full[told.call.name, frozenset(told.asked.items())]
            if len(answers) < ANSWERS_OF_A_QUESTION and all(other != recording for other, _ in answers):
                answers.append((recording, told))

    def learn(self, answer: Told, told: Sequence[Told], *, recording: int) -> None:
        """Tries both ways on a recorded call.   told: before in its recording, oldest first."""
        if not self._shapes[answer.call.name].is_search:
            return
        for way, names, rows in self._attempts(answer.call, answer.asked, told, apart_from=recording):
            self._proofs[answer.call.name, way, names].add(_overlap(rows, answer.rows))

    def find(self, call: ToolCall, asked: Mapping[str, str], told: Sequence[Told]) -> JsonValue | None:
        """The list, or None when no proven way gives one.   told: before in this episode, oldest first."""
        for way, names, rows in self._attempts(call, asked, told):
            if self._proofs[call.name, way, names].holds:
                return [dict(row.fields) for row in rows]
        return None

    def _attempts(
        self, call: ToolCall, asked: Mapping[str, str], told: Sequence[Told], apart_from: int | None = None
    ) -> Iterator[tuple[str, frozenset[str], list[Row]]]:
        """The way, the names that were filtered by, and the rows."""
        broader = self._broader(call.name, asked, told, apart_from)
        if broader is not None:
            names = asked.keys() - broader.asked.keys()
            yield "filtered", frozenset(names), [row for row in broader.rows if _fits(row, asked, names)]
        shape = self._shapes[call.name]
        rows = self._table.agreeing(call.name, asked, apart_from=apart_from)
        rows += [row for each in told for row in each.rows if row.tool == call.name and _fits(row, asked, asked.keys())]
        if rows:
            yield "gathered", frozenset(), _in_order(rows, shape)[: shape.longest]

    def _broader(self, tool: str, asked: Mapping[str, str], told: Sequence[Told], apart_from: int | None) -> Told | None:
        """The narrowest list that answers in full what leaves out some of the arguments asked for; the episode's own goes first."""
        own = [each for each in told if each.call.name == tool and each.asked.items() < asked.items() and self._is_full(each)]
        if own:
            return max(own, key=lambda each: len(each.asked))
        for left_out in range(1, 1 + (min(BROADER_BY, len(asked)) if len(asked) <= FEW_ARGUMENTS else 1)):
            for pairs in combinations(sorted(asked.items()), len(asked) - left_out):
                for recording, answer in self._full.get((tool, frozenset(pairs)), ()):
                    if recording != apart_from:
                        return answer
        return None

    def _is_full(self, told: Told) -> bool:
        """Whether a list is all there is: one as long as the longest may be cut."""
        shape = self._shapes.get(told.call.name)
        return shape is not None and shape.is_search and isinstance(told.result, list) and len(told.result) < shape.longest


def _fits(row: Row, asked: Mapping[str, str], names: Set[str]) -> bool:
    return all(row.texts.get(name) == asked[name] for name in names)


def _in_order(rows: Sequence[Row], shape: ResultShape) -> list[Row]:
    """Each thing once, as first told, in the tool's own order where it has one."""
    key = shape.key
    things = {row.texts.get(key) if key else frozenset(row.texts.items()): row for row in reversed(rows)}
    distinct = list(reversed(things.values()))
    if (order := shape.order) is None:
        return distinct
    return sorted(distinct, key=lambda row: str(row.fields.get(order)))


def _overlap(found: Sequence[Row], recorded: Sequence[Row]) -> float:
    """Rows in both ÷ rows in either; 1 when both are empty."""
    left, right = ({canonical(dict(row.fields)) for row in rows} for rows in (found, recorded))
    return len(left & right) / len(left | right) if left or right else 1.0
