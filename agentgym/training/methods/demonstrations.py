"""Recorded conversations as the decisions a policy would have taken to lead them."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentgym.episode import Conversation, Decision, TrainablePolicy
from agentgym.policies.planner.examples import UNKNOWN_START, is_refused_at, one_call_at_a_time, upcoming_calls
from agentgym.tools import Tool
from agentgym.traces.trace import Trace


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Demonstration:
    """A conversation to learn from.

    decisions: of every turn the policy could have taken, in order.   turns: of the assistant that are worth learning.
    unsaid_turns: of those, the ones the policy has no way to take.
    """

    cluster_id: str
    decisions: tuple[Decision, ...]
    turns: int
    unsaid_turns: int


def demonstrate(policy: TrainablePolicy, trace: Trace, *, tools: Sequence[Tool]) -> Demonstration:
    """What the policy can learn from a trace.   tools: in scope where the trace names none.

    A call that was refused with an error is not worth learning. Calls made at once are read as made one after the other.
    """
    messages = tuple(one_call_at_a_time(trace.messages))
    scope, now = trace.tools or tuple(tools), trace.started_at or UNKNOWN_START
    decisions: list[Decision] = []
    turns = unsaid = 0
    for place, (message, next_call) in enumerate(zip(messages, upcoming_calls(messages), strict=True)):
        if message.role != "assistant" or is_refused_at(messages, place):
            continue
        conversation = Conversation(conversation_id=trace.conversation_id, messages=messages[:place], tools=scope, now=now)
        action = policy.recall(conversation, message, next_call=next_call)
        turns += 1
        unsaid += action is None
        decisions += () if action is None else action.decisions
    return Demonstration(cluster_id=trace.cluster_id, decisions=tuple(decisions), turns=turns, unsaid_turns=unsaid)
