"""The next call on recorded dialogues: at every assistant step, what the policy would do after what really happened before.

Recorded words and results are the prefix, whatever the policy said before (teacher forcing), so that nothing here depends on a simulator.
Not covered: what a wrong call would have led to; that is what playing is for.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agentgym.episode import Conversation, Policy
from agentgym.errors import AgentGymError
from agentgym.evaluation.evaluate import Progress, assemble_report
from agentgym.messages import ToolCall
from agentgym.tools import Tool
from agentgym.traces.matching import call_key
from agentgym.traces.trace import Trace
from agentgym.verdicts import CaseRow, EvaluationReport, Failure, Measure, Subject

# Where a log does not say when, relative dates in it have no answer; any fixed day does, so that equal runs are equal.
UNKNOWN_START = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What a policy is asked in a recorded conversation, and the calls the record answers with; none when the record talks."""

    conversation: Conversation
    recorded: tuple[ToolCall, ...]


def evaluate_next_call(
    policy: Policy,
    traces: Sequence[Trace],
    *,
    subject: Subject,
    trained_services: Collection[str],
    scenario: str = "recorded",
    tools: Sequence[Tool] = (),
    on_progress: Progress | None = None,
) -> EvaluationReport:
    """Next-call reliability, precision and exact call, over all calls and apart for services seen and unseen in training.

    trained_services: those the policy was trained on (`Tool.service`).   tools: in scope where a trace does not say.
    reliability: of the recorded calls, the share with the right tool.   precision: of the predicted calls, the share that are right.
    exact_call: of the recorded calls, the share with the right tool and exactly its arguments (`call_key`); an optional argument
    left out is not the same as its default. A message with several calls counts each.
    """
    rows: list[CaseRow] = []
    failures: list[Failure] = []
    for number, trace in enumerate(traces, start=1):
        try:
            rows.extend(_rows(policy, trace, frozenset(trained_services), tools))
        except AgentGymError:
            raise
        except Exception as error:
            # A policy is anybody's code and may raise anything; see evaluate_policy.
            failures.append(Failure(case_id=trace.conversation_id, error=f"{type(error).__name__}: {error}"))
        if on_progress:
            on_progress(number, len(traces))
    digest = trace_set_digest(traces)
    return assemble_report("next_call", rows, failures, subject=subject, scenario=scenario, case_set=digest, seed=0)


def trace_set_digest(traces: Iterable[Trace]) -> str:
    """SHA-256 of the traces, whatever their order."""
    return hashlib.sha256("".join(sorted(trace.model_dump_json() for trace in traces)).encode()).hexdigest()


def recorded_steps(trace: Trace, tools: Sequence[Tool] = ()) -> Iterator[Step]:
    """Every assistant step of a trace, in order; `tools` are in scope where the trace has none of its own."""
    scope = trace.tools or tuple(tools)
    now = trace.started_at or UNKNOWN_START
    for position, message in enumerate(trace.messages):
        if message.role == "assistant":
            prefix = trace.messages[:position]
            conversation = Conversation(conversation_id=trace.conversation_id, messages=prefix, tools=scope, now=now)
            yield Step(conversation=conversation, recorded=message.tool_calls)


def _rows(policy: Policy, trace: Trace, trained: frozenset[str], tools: Sequence[Tool]) -> list[CaseRow]:
    kinds = {tool.name: _kind(tool, trained) for tool in trace.tools or tools}
    counts = {kind: Counter[str]() for kind in sorted(set(kinds.values())) or ["unseen"]}
    for step in recorded_steps(trace, tools):
        _count(policy.act(step.conversation).message.tool_calls, step.recorded, kinds, counts)
    return [
        CaseRow(case_id=trace.conversation_id, kind=kind, cluster_id=trace.cluster_id, measures=_measures(count))
        for kind, count in counts.items()
    ]


def _kind(tool: Tool, trained: frozenset[str]) -> str:
    return "seen" if tool.service in trained else "unseen"


def _count(
    predicted: Sequence[ToolCall], recorded: Sequence[ToolCall], kinds: Mapping[str, str], counts: Mapping[str, Counter[str]]
) -> None:
    """Adds one step; a tool that is not in scope counts with the unseen ones, or with the only kind there is."""
    fallback = "unseen" if "unseen" in counts else "seen"
    for calls, what in ((recorded, "recorded"), (predicted, "predicted")):
        for call in calls:
            counts[kinds.get(call.name, fallback)][what] += 1
    for name in _matched(predicted, recorded, lambda call: call.name):
        counts[kinds.get(name, fallback)]["right"] += 1
    for name in _matched(predicted, recorded, call_key):
        counts[kinds.get(name, fallback)]["exact"] += 1


def _matched(predicted: Sequence[ToolCall], recorded: Sequence[ToolCall], key: Callable[[ToolCall], str]) -> Iterator[str]:
    """The tool of each predicted call that has a recorded one with an equal key, each recorded one taken once."""
    open_keys = Counter(map(key, recorded))
    for call in predicted:
        if open_keys[key(call)] > 0:
            open_keys[key(call)] -= 1
            yield call.name


def _measures(count: Counter[str]) -> dict[str, Measure]:
    return {
        "reliability": Measure(numerator=count["right"], denominator=count["recorded"]),
        "precision": Measure(numerator=count["right"], denominator=count["predicted"]),
        "exact_call": Measure(numerator=count["exact"], denominator=count["recorded"]),
    }
