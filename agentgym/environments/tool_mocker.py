"""Tools made from recordings: they answer as they answered then, and judge a call by what was called then."""

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256

from pydantic import JsonValue

from agentgym.environments.answer_counts import AnswerCounts
from agentgym.environments.case import Case
from agentgym.environments.conversation import ToolAnswer
from agentgym.environments.recorded_answers import Answered, Basis, RecordedAnswers
from agentgym.environments.recording import Playhead, RecordedCall
from agentgym.episode import JudgedCall, Outcome
from agentgym.errors import NotOnTape
from agentgym.messages import Message, ToolCall
from agentgym.tools import Tool
from agentgym.traces.matching import canonical_arguments

# Logs rarely say how long a tool took, so every call costs the same on the simulated clock.
TOOL_SECONDS = 0.5


class ToolMocker:
    """A `ToolBackend` made from recordings.

    A call is right when the record makes it in this turn with its arguments; how it puts what is the agent's own to word does not count.
    What the tools answer comes from the case's own recording first, then from `answers`.   tools: in scope of a case whose recording
    declares none.   is_tape: a call that the case's own recording does not make, or has made already, raises NotOnTape.
    in_order: where the customer does not follow the record either, there are no turns of it, and a call is right whenever it is made.
    """

    def __init__(
        self, answers: RecordedAnswers, playhead: Playhead, *, tools: Sequence[Tool], is_tape: bool = False, in_order: bool = True
    ) -> None:
        self._answers = answers
        self._in_order = in_order
        self._is_tape = is_tape
        self._playhead = playhead
        self._all_tools = tuple(tools)

    def open(self, case: Case) -> tuple[Message, ...]:
        recording = self._playhead.open(case)
        assert case.recording is not None  # the playhead has refused such a case
        self._trace = case.recording
        self._departures = 0
        self._history: list[tuple[ToolCall, JsonValue]] = []
        self._bases: Counter[Basis] = Counter()
        return recording.opening

    @property
    def tools(self) -> tuple[Tool, ...]:
        return self._trace.tools or self._all_tools

    def judge(self, call: ToolCall) -> JudgedCall:
        due = self._playhead.open_calls if self._in_order else self._playhead.unmade_calls
        is_right_tool = any(recorded.call.name == call.name for recorded in due)
        key = self._playhead.key(call)
        is_correct = any(recorded.key == key for recorded in due)
        return JudgedCall(call=call, is_correct=is_correct, is_right_tool=is_right_tool, reason="" if is_correct else _fault(call, due))

    def execute(self, call: ToolCall) -> ToolAnswer:
        """Raises NotOnTape in tape mode."""
        key = self._playhead.key(call)
        is_due_here = any(recorded.key == key for recorded in self._playhead.open_calls)
        recorded = self._playhead.make(call)
        if recorded is None and self._is_tape:
            raise NotOnTape(call.name, call.arguments, self._playhead.recording.conversation_id)
        is_on_record = is_due_here and not self._departures
        self._departures += recorded is None
        answered = self._answered(call, recorded, is_on_record=is_on_record)
        self._history.append((call, answered.result))
        self._bases[answered.basis] += 1
        return ToolAnswer(result=answered.result, seconds=TOOL_SECONDS)

    @property
    def answer_counts(self) -> AnswerCounts:
        """On what basis the calls of this episode were answered so far."""
        return AnswerCounts(**{str(basis): count for basis, count in self._bases.items()})

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

    def _answered(self, call: ToolCall, recorded: RecordedCall | None, *, is_on_record: bool) -> Answered:
        """recorded: the call that was made as recorded.   is_on_record: when it was recorded, too, and after nothing else."""
        if recorded and is_on_record:
            return Answered(result=recorded.result, basis="exact")
        if recorded:
            return self._answers.as_written(call, recorded.result, self._history)
        if near := self._playhead.make_nearly(call):
            return Answered(result=near.result, basis="nearest")
        return self._answers.answer(call, self._history, own=self._playhead.recording.calls)


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
