"""How the tools of an environment are asked here: a call and what happened before it, for an answer and the rule it rests on."""

from collections.abc import Callable, Iterable
from typing import get_args

from agentgym.environments.recorded_answers import Answered, Basis, History, RecordedAnswers
from agentgym.environments.recording import Recording
from agentgym.messages import ToolCall

BASES: tuple[Basis, ...] = get_args(Basis)

# A call and the (call, result) pairs of the episode so far.
Mock = Callable[[ToolCall, History], Answered]


def recorded_mock(recordings: Iterable[Recording]) -> Mock:
    """The mock that a scenario made from these recordings answers from where a case's own recording does not."""
    return RecordedAnswers(recordings).answer
