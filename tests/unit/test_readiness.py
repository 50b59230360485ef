"""What a log lacks is named with its numbers, what is needed comes first, and the rest by what it brings."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.episode import Outcome
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.evaluation.learning_curve import CurvePoint, LearningCurve
from agentgym.messages import Message, ToolCall, assistant, system, tool_result, user
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.tools import Tool
from agentgym.traces.census import count_traces
from agentgym.traces.source import TraceSource
from agentgym.traces.trace import Trace
from agentgym.training.readiness import Advice, Readiness, assess_readiness
from agentgym.training.readiness_of_log import readiness_of
from agentgym.training.training_time import MEASURED_PACE, training_time

FIND = Tool(name="find")
WORLD = CustomerSupport()


def trace(number: int, **fields: object) -> Trace:
    call = ToolCall(name="find", arguments={"number": number})
    messages = (system("Be kind."), user(f"Where is order {number}?"), assistant("", call), tool_result(call, {}), assistant("Sent."))
    known = {
        "customer_id": f"customer {number}",
        "outcome": Outcome.RESOLVED,
        "satisfaction_score": 4,
        "started_at": "2026-01-01T00:00:00Z",
    }
    return Trace.model_validate({"conversation_id": str(number), "tools": (FIND,), "messages": messages, **known, **fields})


def assessed(make: Callable[[int], Trace], count: int = 120, *, in_log: int = 1) -> Readiness:
    """in_log: how many times as many conversations the log has."""
    traces = [make(number) for number in range(count)]
    return assess_readiness(traces, tools=(FIND,), conversations=in_log * count, quarantined=0, target=0.5)


def advice(readiness: Readiness) -> dict[str, Advice]:
    return {each.name: each for each in readiness.advice}


def test_everything_is_counted():
    failed = trace(1, outcome=Outcome.ABANDONED, satisfaction_score=None, messages=(user("Hi"), assistant("", ToolCall(name="other"))))
    census = count_traces([trace(0), failed])
    assert (census.conversations, census.customers, census.calls, census.with_score, census.with_system_prompt) == (2, 2, 2, 1, 1)
    assert census.outcomes == {"resolved": 1, "abandoned": 1}
    assert (census.tools["find"].answered, census.tools["other"].answered) == (1, 0)
    assert (census.tools["find"].is_declared, census.tools["other"].is_declared) == (True, False)


def test_a_log_that_says_everything_lacks_only_the_other_outcomes_and_size():
    assert set(advice(assessed(trace))) == {"conversations", "one_sided_outcomes"}


@pytest.mark.parametrize(
    ("field", "name"),
    [("customer_id", "customer_id"), ("started_at", "started_at"), ("outcome", "outcomes"), ("satisfaction_score", "satisfaction_score")],
)
def test_a_field_that_is_missing_is_named_with_how_often(field: str, name: str):
    found = advice(assessed(lambda number: trace(number, **({field: None} if number < 90 else {}))))
    assert "90 of 120" in found[name].lacking


def test_calls_without_results_make_a_log_unfit():
    def without(number: int) -> Trace:
        whole = trace(number)
        return whole.model_copy(update={"messages": tuple(message for message in whole.messages if message.role != "tool")})

    readiness = assessed(without)
    assert (readiness.is_enough, readiness.advice[0].name) == (False, "results")
    assert "120 of 120 calls" in readiness.advice[0].lacking


def test_the_gate_needs_a_hundred_customers():
    # Twenty held-out customers are a fifth of a hundred.
    assert "customers" not in advice(assessed(trace, 100))
    few = advice(assessed(trace, 99))["customers"]
    assert (few.is_needed, "1 more customers" in few.log_next) == (True, True)


def test_talk_alone_is_not_enough():
    readiness = assessed(lambda number: trace(number, tools=(), messages=(user("Hi"), assistant("Hello"))))
    assert (readiness.is_enough, readiness.expected) == (False, None)
    assert readiness.advice[0].name in ("calls", "conversations")


def test_tools_with_few_calls_are_named():
    def some(number: int) -> Trace:
        call = ToolCall(name="rare")
        rare: tuple[Message, ...] = (user("Hi"), assistant("", call), tool_result(call, {}))
        return trace(number, **({"messages": rare} if number < 19 else {}))

    found = advice(assessed(some))
    assert "1 of 2 tools have fewer than 20 calls: rare." in found["rare_tools"].lacking
    assert "rare" in found["schemas"].lacking
    # 19 calls in a sample are 38 in a log twice as long.
    assert "rare_tools" not in advice(assessed(some, in_log=2))


def test_what_is_needed_comes_first_and_then_what_brings_most():
    readiness = assessed(lambda number: trace(number, started_at=None), 99)
    order = [(not each.is_needed, each.points is None, -(each.points or 0)) for each in readiness.advice]
    assert order == sorted(order)
    assert readiness.advice[0].name == "customers"


def test_a_log_of_a_support_desk_is_enough_when_it_is_large_enough():
    large = list(write_logs(WORLD, WORLD.legacy_agent(), 150, seed=1))
    readiness = assess_readiness(large, tools=WORLD.tools, conversations=150, quarantined=0)
    assert readiness.expected is not None
    assert readiness.doubled is not None
    assert readiness.expected.mean <= readiness.doubled.mean
    assert readiness.is_enough == (readiness.expected.low >= 0.5 and len({trace.customer_id for trace in large}) >= 100)


def test_time_grows_with_the_calls_and_with_how_slow_the_machine_is():
    def curve(pace: float) -> LearningCurve:
        point = CurvePoint(conversations=60, calls=60, right=30, due=60, by_tool={}, seconds=60 * MEASURED_PACE * pace)
        return LearningCurve(points=(point,) * 4, calls=60)

    census = count_traces([trace(number) for number in range(120)])
    once, slow, more = (training_time(census, curve(pace), count) for pace, count in ((1, 120), (3, 120), (1, 1200)))
    assert slow.seconds == pytest.approx(3 * once.seconds)
    assert once.seconds < more.seconds
    assert once.price(3600.0)[0] == pytest.approx(once.seconds)


def write(path: Path, traces: list[Trace]) -> TraceSource:
    path.write_text("".join(trace.model_dump_json(exclude_defaults=True) + "\n" for trace in traces))
    return TraceSource(path=path)


def test_of_a_long_log_some_are_looked_at_and_all_are_counted(tmp_path):
    source = write(tmp_path / "log.jsonl", [trace(number) for number in range(120)])
    readiness = readiness_of(source.model_copy(update={"limit": 60}), target=0.5)
    assert (readiness.conversations, readiness.census.conversations) == (120, 60)
    assert readiness.expected is not None
    assert readiness.expected.conversations == 120


def test_an_empty_log_and_one_of_which_nothing_can_be_used_are_told(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InvalidInput, match="at least one conversation"):
        readiness_of(TraceSource(path=tmp_path / "empty.jsonl"), target=0.5)
    (tmp_path / "bad.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "Hi"}], "outcome": "who knows"}) + "\n")
    with pytest.raises(InsufficientData, match=r"of 1 in .* none can"):
        readiness_of(TraceSource(path=tmp_path / "bad.jsonl"), target=0.5)
