"""What tools answer, learnt from recordings: as they answered then, and honest about how sure that is."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from agentgym.environments.recording import RecordedCall, Recording
from agentgym.environments.result_rows import RowTable, Told, read_rows
from agentgym.environments.result_shapes import ResultShape, learn_shape
from agentgym.environments.row_completion import RowCompletion
from agentgym.environments.row_search import RowSearch
from agentgym.messages import ToolCall
from agentgym.traces.matching import agreement, call_key, canonical_arguments

Basis = Literal["exact", "consistent", "nearest", "unknown"]
"""Why an answer is what it is: recorded for this very call; follows from what the recordings tell of the entity; recorded for a similar
call; or nothing is known and the tool refuses."""

# Two calls are near when they agree in most arguments: more than this share.
NEAR = 0.5
# A policy that explores asks for much that was never recorded; remembering all of it would fill the memory of a long training.
REMEMBERED_ANSWERS = 50_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a tool gave back, and on what basis."""

    result: JsonValue
    basis: Basis


class RecordedAnswers:
    def __init__(self, recordings: Iterable[Recording]) -> None:
        self._recordings = list(recordings)
        self._calls = [recorded for recording in self._recordings for recorded in recording.calls]
        self._exact: dict[str, int] = {}
        self._by_argument: dict[tuple[str, str, str], list[int]] = {}
        self._refusals: dict[str, JsonValue] = {}
        self._found: dict[str, Answered] = {}
        for index, recorded in enumerate(self._calls):
            if recorded.is_due:
                self._index(index, recorded)
            else:
                self._refusals.setdefault(recorded.call.name, recorded.result)
        answered=defaultdict(list)
        for recorded in self._calls:
            if recorded.is_due: answered[recorded.call.name].append((recorded.call,recorded.result))
        self.shapes={n:learn_shape(a) for n,a in answered.items()}
        self.table=RowTable()
        self.completion=RowCompletion(self.shapes,self.table)
        self.search=RowSearch(self.shapes,self.table)
        told=[]
        for n,recording in enumerate(self._recordings):
            told.append([self._tell(r.call,r.result) for r in recording.calls])
            for t in told[-1]:
                for row in t.rows: self.table.add(row,recording=n)
                self.search.add(t,recording=n)
        for n,recording in enumerate(self._recordings):
            for i,r in enumerate(recording.calls):
                if r.is_due:
                    self.completion.learn(r.call,r.result,told[n][:i],recording=n)
                    self.search.learn(told[n][i],told[n][:i],recording=n)

    def _tell(self, call, result):
        asked=self.shapes.get(call.name, ResultShape()).asked(call.arguments)
        return Told(call,asked,result,read_rows(call.name,result,asked))

    def answer(self, call: ToolCall, history: Sequence[tuple[ToolCall, JsonValue]] = ()) -> Answered:
        """history: the calls of this episode so far, each with its result, oldest first."""
        key = call_key(call)
        exact = self._exact.get(key)
        if exact is not None: return Answered(result=self._calls[exact].result, basis="exact")
        told=[self._tell(*h) for h in history]
        r=self.completion.complete(call,told)
        if r is None: r=self.search.find(call,told)
        if r is not None: return Answered(result=r,basis="consistent")
        return self._near(call)

    def _index(self, index: int, recorded: RecordedCall) -> None:
        # A call repeated in many conversations is indexed once: its further answers are never asked for.
        if self._exact.setdefault(recorded.key, index) == index:
            for name, text in canonical_arguments(recorded.call.arguments).items():
                self._by_argument.setdefault((recorded.call.name, name, text), []).append(index)

    def _near(self, call: ToolCall) -> Answered:
        arguments = canonical_arguments(call.arguments)
        agreements = Counter(index for name, text in arguments.items() for index in self._by_argument.get((call.name, name, text), ()))
        # The most agreements in the smallest call, and the oldest of equals: Counter keeps the order of the recordings.
        nearest = max(agreements, key=lambda index: (agreements[index], -len(self._calls[index].call.arguments)), default=None)
        if nearest is not None and agreement(call, self._calls[nearest].call) > NEAR:
            return Answered(result=self._calls[nearest].result, basis="nearest")
        return Answered(result=self._refusals.get(call.name, {"error": f"{call.name} found nothing for these arguments."}), basis="unknown")
