"""How the tools of an environment are asked here: a call and what happened before it, for an answer and the rule it rests on."""

from collections.abc import Callable, Sequence
from typing import get_args

from agentgym.environments.recorded_answers import Answered, Basis, History, RecordedAnswers
from agentgym.messages import ToolCall
from agentgym.traces.trace import Trace

BASES: tuple[Basis, ...] = get_args(Basis)

# A call and the (call, result) pairs of the episode so far.
Mock = Callable[[ToolCall, History], Answered]


def recorded_mock(traces: Sequence[Trace]) -> Mock:
    """The mock that a scenario made from these conversations answers from where a case's own recording does not."""
    return RecordedAnswers.of(traces).answer
