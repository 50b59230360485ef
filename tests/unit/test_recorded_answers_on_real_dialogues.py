"""How held-out real calls are answered from other conversations' recordings, and whether mined schemas would take them."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from agentgym.environments.recorded_answers import RecordedAnswers
from agentgym.environments.recording import read_recording
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.mining import answered_calls, mine_tools
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
AIRLINE = "tau_bench/airline/gpt-4o-airline.json.gz"

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


@cache
def traces(name: str, format: TraceFormat) -> list[Trace]:
    return [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]


@cache
def sgd_parts() -> tuple[list[Trace], list[Trace]]:
    """Two parts of the training dialogues: nothing here is chosen on the dev dialogues."""
    train = traces("sgd/train", "sgd")
    return train[:1_200], train[1_200:]


@cache
def airline_parts() -> tuple[list[Trace], list[Trace]]:
    """Runs of other tasks, and of every fifth task, none of those that are held out elsewhere."""
    runs = [(int(str(trace.customer_id).partition("-")[2]), trace) for trace in traces(AIRLINE, "openai")]
    return [trace for task, trace in runs if task % 5 not in (3, 4)], [trace for task, trace in runs if task % 5 == 3]


def answered(known: Sequence[Trace], asked: Sequence[Trace]) -> tuple[Counter[str], Counter[str]]:
    """Calls by the basis on which they are answered, and those among them whose answer is the recorded one."""
    answers = RecordedAnswers(map(read_recording, known))
    calls: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for trace in asked:
        recorded = read_recording(trace).calls
        for at, each in enumerate(recorded):
            found = answers.answer(each.call, [(other.call, other.result) for other in recorded[:at]])
            calls[found.basis] += 1
            right[found.basis] += found.result == each.result
    return calls, right


def test_half_of_the_unseen_calls_of_sgd_are_answered_on_good_grounds() -> None:
    calls, right = answered(*sgd_parts())
    assert calls["exact"] + calls["consistent"] >= 0.45 * calls.total()
    assert right["consistent"] >= 0.64 * calls["consistent"]
    assert right["nearest"] <= 0.1 * calls["nearest"]


def test_airline_calls_of_unseen_customers_are_mostly_unknown_and_exact_ones_right() -> None:
    calls, right = answered(*airline_parts())
    assert calls["unknown"] >= 0.3 * calls.total()
    assert right["exact"] >= 0.95 * calls["exact"]


@pytest.mark.parametrize("parts", [sgd_parts, airline_parts], ids=["sgd", "airline"])
def test_mined_schemas_take_the_calls_of_other_conversations(parts: object) -> None:
    assert callable(parts)
    known, asked = parts()
    mined = {tool.name: tool for tool in mine_tools(trace.model_copy(update={"tools": ()}) for trace in known)}
    taken = [
        not mined[call.name].violations(call.arguments)
        for trace in asked
        for call, answer in answered_calls(trace.messages)
        if call.name in mined and not (answer and answer.is_error)
    ]
    assert sum(taken) >= 0.99 * len(taken)
