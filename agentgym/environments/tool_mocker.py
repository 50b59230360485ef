"""Tools made from recordings: they answer as they answered then, and judge a call by what was called then."""

from collections.abc import Sequence
from hashlib import sha256

from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.environments.conversation import ToolAnswer
from agentgym.environments.near_calls import NEAR
from agentgym.environments.recorded_answers import RecordedAnswers
from agentgym.environments.recording import Playhead, RecordedCall
from agentgym.episode import JudgedCall, Outcome
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.matching import agreement, call_key, canonical_arguments

# Logs rarely say how long a tool took, so every call costs the same on the simulated clock.
TOOL_SECONDS = 0.5


class ToolMocker:
    """A `ToolBackend` made from recordings.

    A call is right when the record makes it in this turn, with exactly its arguments. What the tools answer comes from the case's own
    recording first, then from `answers`.   tools: in scope of a case whose recording declares none.
    """

    def __init__(self, answers: RecordedAnswers, playhead: Playhead, *, tools: Sequence[Tool]) -> None:
        self._answers = answers
        self._playhead = playhead
        self._all_tools = tuple(tools)

    def open(self, case: Case) -> tuple[Message, ...]:
        recording = self._playhead.open(case)
        assert case.recording is not None  # the playhead has refused such a case
        self._trace = case.recording
        self._departures = 0
        return recording.opening

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._trace.tools or self._all_tools

    def judge(self, call: ToolCall) -> JudgedCall:
        due = self._playhead.open_calls
        is_right_tool = any(recorded.call.name == call.name for recorded in due)
        key = call_key(call)
        is_correct = any(recorded.key == key for recorded in due)
        return JudgedCall(call=call, is_correct=is_correct, is_right_tool=is_right_tool, reason="" if is_correct else _fault(call, due))

    def execute(self, call: ToolCall) -> ToolAnswer:
        recorded = self._playhead.make(call)
        self._departures += recorded is None
        recorded = recorded or self._playhead.make_nearly(call)
        return ToolAnswer(result=recorded.result if recorded else self._improvised(call), seconds=TOOL_SECONDS)

    @property
    def is_closed(self) -> bool:
        return not self._playhead.missing_calls

    def missing_calls(self) -> tuple[str, ...]:
        return tuple(recorded.call.name for recorded in self._playhead.missing_calls)

    def outcome(self, *, has_abandoned: bool) -> Outcome:
        if self.is_closed:
            return self._trace.outcome or Outcome.RESOLVED
        is_at_end = self._playhead.turn is None
        return Outcome.ABANDONED if has_abandoned and not is_at_end else Outcome.UNRESOLVED

    def satisfaction_score(self, *, outcome: Outcome, annoyances: int) -> float | None:
        """The recorded score while the episode went as recorded; what another course would have earned, nobody knows."""
        is_as_recorded = not annoyances and not self._departures and outcome == (self._trace.outcome or Outcome.RESOLVED)
        return self._trace.satisfaction_score if is_as_recorded else None

    def state_hash(self) -> str:
        return sha256(f"{self._playhead.position}/{self._departures}".encode()).hexdigest()

    def _improvised(self, call: ToolCall) -> JsonValue:
        own = next((recorded for recorded in self._playhead.recording.calls if recorded.key == call_key(call)), None)
        near = own or next((recorded for recorded in self._playhead.recording.calls if agreement(call, recorded.call) > NEAR), None)
        return near.result if near else self._answers.answer(call).result


def _fault(call: ToolCall, due: Sequence[RecordedCall]) -> str:
    """Why a call is not what the record does here."""
    if not due:
        return "The record calls no tool here."
    same_tool = [recorded.call for recorded in due if recorded.call.name == call.name]
    if not same_tool:
        return f"The record calls {' and '.join(sorted({recorded.call.name for recorded in due}))} here."
    given, expected = canonical_arguments(call.arguments), canonical_arguments(same_tool[0].arguments)
    differing = sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name))
    return f"The record gives other arguments here: {', '.join(differing)}."
