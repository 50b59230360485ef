"""How the tools of an environment are asked here: a call and what happened before it, for an answer and the rule it rests on."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from agentgym.environments.recording import Recording
from agentgym.environments.tool_mocker import RecordedAnswers
from agentgym.messages import ToolCall
from agentgym.traces.matching import call_key

Basis = Literal["exact", "consistent", "nearest", "unknown"]
BASES: tuple[Basis, ...] = ("exact", "consistent", "nearest", "unknown")
History = Sequence[tuple[ToolCall, JsonValue]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a mock gave back.

    basis: the recorded call itself; what is known of the same entity; the nearest recorded call; or nothing, and the mock says so.
    """

    result: JsonValue
    basis: Basis


# A call and the (call, result) pairs of the episode so far.
Mock = Callable[[ToolCall, History], Answered]


def recorded_mock(recordings: Iterable[Recording]) -> Mock:
    """The mock that a scenario made from these recordings answers from where a case's own recording does not."""
    kept = tuple(recordings)
    answers = RecordedAnswers(kept)
    exact = {recorded.key for recording in kept for recorded in recording.calls if recorded.is_due}
    results = {id(recorded.result) for recording in kept for recorded in recording.calls if recorded.is_due}

    def answer(call: ToolCall, history: History) -> Answered:
        result = answers.answer(call)
        basis: Basis = "exact" if call_key(call) in exact else "nearest" if id(result) in results else "unknown"
        return Answered(result=result, basis=basis)

    return answer
