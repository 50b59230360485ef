"""What a log holds, counted: conversations, customers, tools and their calls, outcomes, and what each conversation leaves unsaid."""

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from agentgym.traces.mining import answered_calls
from agentgym.traces.trace import Trace

UNKNOWN = "unknown"


class ToolCensus(BaseModel):
    """Calls of one tool.   conversations: in which it is called.   answered: calls with a recorded result, `errors` of which failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: int
    conversations: int
    answered: int
    errors: int
    is_declared: bool


class Census(BaseModel):
    """Counts of conversations unless said otherwise.

    customers: different ones that are known.   outcomes: by name, `unknown` where none is known.   with_…: conversations that have it.
    tools: by name, those declared and those called.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int
    customers: int
    agent_turns: int
    calls: int
    outcomes: dict[str, int]
    with_customer: int
    with_score: int
    with_time: int
    with_system_prompt: int
    with_calls: int
    tools: dict[str, ToolCensus]

    @property
    def with_outcome(self) -> int:
        return self.conversations - self.outcomes.get(UNKNOWN, 0)

    @property
    def answered(self) -> int:
        """Calls with a recorded result."""
        return sum(tool.answered for tool in self.tools.values())

    def calls_of(self, names: Iterable[str]) -> int:
        return sum(self.tools[name].calls for name in names)


def count_traces(traces: Iterable[Trace]) -> Census:
    counts, outcomes, customers = Counter[str](), Counter[str](), set[str]()
    tools: dict[str, Counter[str]] = {}
    for trace in traces:
        counts.update(_has(trace))
        outcomes[trace.outcome or UNKNOWN] += 1
        customers.update({trace.customer_id} if trace.customer_id else ())
        for tool in trace.tools:
            tools.setdefault(tool.name, Counter())["declared"] += 1
        for name in _count_calls(trace, tools):
            tools[name]["conversations"] += 1
    return Census(
        conversations=counts["conversations"],
        customers=len(customers),
        agent_turns=counts["agent_turns"],
        calls=sum(counted["calls"] for counted in tools.values()),
        outcomes=dict(outcomes.most_common()),
        with_customer=counts["customer"],
        with_score=counts["score"],
        with_time=counts["time"],
        with_system_prompt=counts["system"],
        with_calls=counts["calls"],
        tools={name: _tool(counted) for name, counted in sorted(tools.items(), key=lambda each: (-each[1]["calls"], each[0]))},
    )


def _has(trace: Trace) -> Counter[str]:
    roles = Counter(message.role for message in trace.messages)
    return Counter(
        conversations=1,
        agent_turns=roles["assistant"],
        customer=trace.customer_id is not None,
        score=trace.satisfaction_score is not None,
        time=trace.started_at is not None,
        system=roles["system"] > 0,
        calls=any(message.tool_calls for message in trace.messages),
    )


def _count_calls(trace: Trace, tools: dict[str, Counter[str]]) -> set[str]:
    """Counts every call of the trace; the names of the tools that were called."""
    pairs = answered_calls(trace.messages)
    for call, answer in pairs:
        counted = tools.setdefault(call.name, Counter())
        counted["calls"] += 1
        counted["answered"] += answer is not None
        counted["errors"] += answer is not None and answer.is_error
    return {call.name for call, _ in pairs}


def _tool(counted: Counter[str]) -> ToolCensus:
    return ToolCensus(
        calls=counted["calls"],
        conversations=counted["conversations"],
        answered=counted["answered"],
        errors=counted["errors"],
        is_declared=counted["declared"] > 0,
    )
