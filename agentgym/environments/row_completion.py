"""Results about one thing, put together from the call and from what was told about the thing elsewhere."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.environments.result_rows import Row, RowTable, Told, best_row
from agentgym.environments.result_shapes import ResultShape, rows_of
from agentgym.messages import ToolCall
from agentgym.traces.matching import canonical

# Names that a row agrees in identify it when, on this many recorded calls, this share of the fields taken from it was right.
PROVEN_BY = 3
PROVEN_SHARE = 0.8


@dataclass(slots=True)
class Proof:
    """How right a rule was on recorded calls: the sum, over its tries, of the share that was right."""

    tries: int = 0
    right: float = 0.0

    def add(self, share: float) -> None:
        self.tries += 1
        self.right += share

    @property
    def holds(self) -> bool:
        return self.tries >= PROVEN_BY and self.right >= PROVEN_SHARE * self.tries


@dataclass(frozen=True, kw_only=True, slots=True)
class Completed:
    """A result about one thing.   names: the asked fields that its source agrees in.   taken: the fields that come from the source."""

    row: dict[str, JsonValue]
    source: str
    names: frozenset[str]
    taken: tuple[str, ...]


class RowCompletion:
    """Completes the row that a call asks for: from its arguments, from a row that agrees with it, and from what the tool always says.

    Which rows may be a source is learnt: those that agree in names for which the recordings have shown that the rest then agrees too. What
    the tool always says goes before a row where recorded rows said otherwise, and were wrong.
    """

    def __init__(self, shapes: Mapping[str, ResultShape], table: RowTable) -> None:
        self._shapes = shapes
        self._table = table
        self._proofs: defaultdict[tuple[str, str], defaultdict[frozenset[str], Proof]] = defaultdict(lambda: defaultdict(Proof))
        # Fields, by tool, that the tool says the same whatever the source said before: the status of what was cancelled.
        self._overruled: defaultdict[str, set[str]] = defaultdict(set)

    def learn(self, answer: Told, told: Sequence[Told], *, recording: int) -> None:
        """Tries the completion on a recorded call.   told: before in its recording, oldest first."""
        call, rows = answer.call, rows_of(answer.result)
        shape = self._shapes[call.name]
        if not shape.is_single or len(rows) != 1:
            return
        recorded = {name: canonical(value) for name, value in rows[0].items()}
        constants = {name for name, value in shape.constants.items() if canonical(value) == recorded.get(name)}
        for completed in self._attempts(call, shape, told, apart_from=recording):
            right = {name for name, value in completed.row.items() if canonical(value) == recorded.get(name)}
            judged = completed.taken or completed.row.keys()
            self._overruled[call.name] |= constants.difference(right).intersection(judged)
            share = sum(name in right or name in constants for name in judged) / len(judged)
            self._proofs[call.name, completed.source][completed.names].add(share)

    def complete(self, call: ToolCall, told: Sequence[Told]) -> JsonValue | None:
        """The result, or None when no proven rule gives one.   told: before in this episode, oldest first."""
        shape = self._shapes.get(call.name)
        if shape is None or not shape.is_single:
            return None
        for completed in self._attempts(call, shape, told):
            if self._is_proven(call.name, completed):
                return shape.wrap(completed.row)
        return None

    def _attempts(self, call: ToolCall, shape: ResultShape, told: Sequence[Told], apart_from: int | None = None) -> Iterator[Completed]:
        """Completions by the best row of the episode, then by that of the table, then by no row where none is needed."""
        given = _given(call, shape)
        given |= {name: shape.constants[name] for name in self._overruled[call.name] if name not in given}
        missing = [name for name in shape.always if name not in given]
        if missing:
            asked = shape.asked(call.arguments)
            told_rows = (row for each in reversed(told) for row in each.rows)
            for candidates in (told_rows, self._table.candidates(asked, apart_from=apart_from)):
                fitting = (row for row in candidates if all(_is_had(name, row.fields, call, shape) for name in missing))
                if found := best_row(fitting, asked):
                    yield _completed(call, shape, given, *found)
        if all(_is_had(name, {}, call, shape) for name in missing):
            yield _completed(call, shape, given, None, frozenset())

    def _is_proven(self, tool: str, completed: Completed) -> bool:
        """By calls that agreed in the same names; where these are too few, by calls that agreed in some of them."""
        proofs = self._proofs[tool, completed.source]
        same = proofs.get(completed.names)
        if same is not None and same.tries >= PROVEN_BY:
            return same.holds
        return any(names <= completed.names and proof.holds for names, proof in proofs.items())


def _given(call: ToolCall, shape: ResultShape) -> dict[str, JsonValue]:
    """Fields that the arguments settle."""
    given = {name: call.arguments[argument] for name, argument in shape.repeats.items() if argument in call.arguments}
    return given | {name: value for name, value in shape.defaults.items() if name not in call.arguments}


def _is_had(name: str, fields: Mapping[str, JsonValue], call: ToolCall, shape: ResultShape) -> bool:
    return name in fields or name in shape.constants or (name in shape.tends and name in call.arguments)


def _completed(call: ToolCall, shape: ResultShape, given: dict[str, JsonValue], row: Row | None, names: frozenset[str]) -> Completed:
    source = row.fields if row else {}
    tending = {name: call.arguments[name] for name in shape.tends if name in call.arguments}
    always = {name: value for name, value in shape.constants.items() if name in shape.always}
    known = {**always, **tending, **{name: value for name, value in source.items() if name in shape.fields}, **given}
    taken = tuple(name for name in source if name in shape.always and name not in given)
    return Completed(
        row={name: known[name] for name in shape.fields if name in known}, source=row.tool if row else "", names=names, taken=taken
    )
