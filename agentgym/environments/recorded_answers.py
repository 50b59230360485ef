"""What tools answer, learnt from recordings: by the best rule that the recordings support, and honest about which one it was."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Self

from pydantic import JsonValue

from agentgym.environments.near_calls import NearCalls, is_near
from agentgym.environments.recording import RecordedCall, Recording, read_recording
from agentgym.environments.result_rows import Told, read_rows
from agentgym.environments.result_shapes import ResultShape, learn_shape
from agentgym.environments.result_texts import ResultTexts
from agentgym.environments.row_rules import RowRules
from agentgym.environments.write_effects import WriteEffects
from agentgym.messages import ToolCall, tool_result
from agentgym.traces.own_words import EXACT, CallKeys, learn_call_keys
from agentgym.traces.trace import Trace

Basis = Literal["exact", "consistent", "nearest", "unknown"]
"""Why an answer is what it is.

exact: recorded for this very call, however it puts what is the agent's own to word.   consistent: put together from what the recordings
and the episode tell of the thing, by a rule that holds in the recordings.   nearest: recorded for another call that agrees in most
arguments, or before something was written that changed it in an unknown way.   unknown: the tool refuses, as it refused then.
"""

# Results read and answers found stay known; a policy that explores asks for much, and all of it would fill the memory of a long training.
REMEMBERED_ANSWERS = 50_000
REMEMBERED_RESULTS = 10_000

History = Sequence[tuple[ToolCall, JsonValue]]
"""Calls of an episode, each with its result, oldest first."""

_NO_SHAPE = ResultShape()


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a tool gave back, and on what basis."""

    result: JsonValue
    basis: Basis


class RecordedAnswers:
    """What the tools in a set of recordings answer to any call.

    The same call: what it got first, unless the episode has written what it reads. A thing that is known: what the recordings and the
    episode tell of it, in the shape of the tool's results. A search: the recorded rows that fit. A near call: what that got. Else the
    tool's own refusal. Equal calls after equal histories get equal answers; nothing is kept of an episode, no result is changed in place.
    """

    def __init__(self, recordings: Iterable[Recording], keys: CallKeys = EXACT) -> None:
        """keys: those that the recordings were read with."""
        self.keys = keys
        calls = [recording.calls for recording in recordings]
        answered: defaultdict[str, list[tuple[ToolCall, JsonValue]]] = defaultdict(list)
        refused: list[tuple[ToolCall, JsonValue]] = []
        for recorded in chain.from_iterable(calls):
            (answered[recorded.call.name] if recorded.is_due else refused).append((recorded.call, recorded.result))
        self._shapes = {tool: learn_shape(pairs) for tool, pairs in answered.items()}
        self._texts = ResultTexts(answered, refused)
        self._read: dict[tuple[int, int], Told] = {}
        self._without_history: dict[str, Answered] = {}
        self._effects = WriteEffects(self._shapes)
        told = [[self._told(each.call, each.result) for each in recording if each.is_due] for recording in calls]
        for episode in told:
            self._effects.learn(episode)
        self._effects.conclude()
        self._rules = RowRules(self._shapes, told, self._effects)
        self._calls = NearCalls(_first_before_writes(calls, self._effects))

    @classmethod
    def of(cls, traces: Sequence[Trace], keys: CallKeys | None = None) -> Self:
        """What the tools in these conversations answer.   keys: None learns from them which words are the agents' own."""
        keys = learn_call_keys(traces) if keys is None else keys
        return cls((read_recording(trace, keys) for trace in traces), keys)

    def answer(self, call: ToolCall, history: History = (), *, own: Sequence[RecordedCall] = ()) -> Answered:
        """history: the calls of this episode so far, each with its result, oldest first.   own: the calls of the case's own recording."""
        key = self.keys.of(call)
        again = next((at for at in reversed(range(len(history))) if self._is_made_by(history[at][0], call.name, key)), None)
        found = self._first(call, key, history, own) if again is None else self._repeated(call, history, again, own)
        since = history if again is None else history[again + 1 :]
        return self._rewritten(found, call, since)

    def as_written(self, call: ToolCall, result: JsonValue, history: History) -> Answered:
        """A result that was recorded for this call, as the episode's own calls left what it tells."""
        return self._rewritten(Answered(result=result, basis="exact"), call, history)

    def _rewritten(self, found: Answered, call: ToolCall, since: History) -> Answered:
        """What was found, as these calls left it; no more than near where they changed it in a way that no recording shows."""
        made = (self._told(*pair) for pair in since if self._effects.is_write(pair[0].name))
        writes = [told for told in made if not told.is_refusal]
        if not writes or found.basis == "unknown":
            return found
        rewritten = self._effects.applied(call.name, self._asked(call), found.result, writes)
        if not rewritten.is_known:
            return Answered(result=rewritten.result, basis="nearest")
        if rewritten.result is found.result:
            return found
        return Answered(result=rewritten.result, basis="consistent" if found.basis == "exact" else found.basis)

    def _first(self, call: ToolCall, key: str, history: History, own: Sequence[RecordedCall]) -> Answered:
        """The answer to a call that the episode has not made before."""
        for recorded in own:
            if recorded.key == key:
                return Answered(result=recorded.result, basis="exact")
        otherwise = self._otherwise(call, key)
        if otherwise.basis == "exact":
            return otherwise
        if (said := self._texts.says(call)) is not None:
            return Answered(result=said[0], basis="consistent")
        if (told := self._rules.answer(call, self._asked(call), lambda: self._told_before(history, own))) is not None:
            return Answered(result=told, basis="consistent")
        near = next((recorded for recorded in own if recorded.is_due and is_near(call, recorded.call)), None)
        return Answered(result=near.result, basis="nearest") if near else otherwise

    def _repeated(self, call: ToolCall, history: History, again: int, own: Sequence[RecordedCall]) -> Answered:
        """What the episode was told before, on the basis it was told then; where it came from elsewhere, it is consistent with itself."""
        then = self.answer(call, history[:again], own=own)
        return then if then.result == history[again][1] else Answered(result=history[again][1], basis="consistent")

    def _otherwise(self, call: ToolCall, key: str) -> Answered:
        """The answer that needs no history: exact, nearest or unknown."""
        if len(self._without_history) >= REMEMBERED_ANSWERS:
            self._without_history.clear()
        if key not in self._without_history:
            same, near = self._calls.same(key), self._calls.nearest(call)
            recorded = same or near
            self._without_history[key] = (
                Answered(result=recorded.result, basis="exact" if same else "nearest")
                if recorded
                else Answered(result=self._texts.refuses(call), basis="unknown")
            )
        return self._without_history[key]

    def _told_before(self, history: History, own: Sequence[RecordedCall]) -> list[Told]:
        """What the case's own recording tells before anything is written, then what the episode was told."""
        known = [self._told(each.call, each.result) for each in own if each.is_due and not self._effects.is_write(each.call.name)]
        return known + [self._told(*pair) for pair in history]

    def _told(self, call: ToolCall, result: JsonValue) -> Told:
        # The value keeps both objects, so no other can have their ids while it is remembered.
        place = (id(call), id(result))
        if place not in self._read:
            if len(self._read) >= REMEMBERED_RESULTS:
                self._read.clear()
            asked = self._asked(call)
            is_refusal = tool_result(call, result).is_error
            rows = [] if is_refusal else read_rows(call.name, result, asked)
            self._read[place] = Told(call, asked, result, rows, is_refusal)
        return self._read[place]

    def _is_made_by(self, call: ToolCall, tool: str, key: str) -> bool:
        return call.name == tool and self.keys.of(call) == key

    def _asked(self, call: ToolCall) -> dict[str, str]:
        return self._shapes.get(call.name, _NO_SHAPE).asked(call.arguments)


def _first_before_writes(calls: Sequence[Sequence[RecordedCall]], effects: WriteEffects) -> list[RecordedCall]:
    """Recorded calls, those that succeeded first, and among them those before anything in their recording was written."""
    ordered: list[list[RecordedCall]] = [[], [], []]
    for recording in calls:
        has_written = False
        for recorded in recording:
            ordered[2 if not recorded.is_due else int(has_written)].append(recorded)
            has_written |= effects.is_write(recorded.call.name)
    return [recorded for part in ordered for recorded in part]
