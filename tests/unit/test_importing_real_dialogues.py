"""Counts of the published data sets, as their README states them."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


def traces_of(name: str, format: TraceFormat) -> list[Trace]:
    return [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]


def calls_of(traces: Iterable[Trace]) -> list[str]:
    return [call.name for trace in traces for message in trace.messages for call in message.tool_calls]


@pytest.mark.parametrize(
    ("split", "dialogues", "calls", "services", "methods"), [("train", 1_500, 4_190, 26, 52), ("dev", 300, 853, 17, 30)]
)
def test_sgd_is_imported_whole(split: str, dialogues: int, calls: int, services: int, methods: int) -> None:
    traces = traces_of(f"sgd/{split}", "sgd")
    called = calls_of(traces)
    assert (len(traces), len(called)) == (dialogues, calls)
    assert len({name.partition(".")[0] for name in called}) == services
    assert len(set(called)) == methods


def test_sgd_outcomes_follow_the_last_report() -> None:
    traces = traces_of("sgd/train", "sgd")
    assert Counter((trace.outcome, trace.tags["request"]) for trace in traces) == {
        ("resolved", "transactional"): 1_174,
        ("unresolved", "transactional"): 80,
        ("resolved", "informational"): 246,
    }


def test_sgd_train_and_dev_share_no_conversation() -> None:
    train, dev = traces_of("sgd/train", "sgd"), traces_of("sgd/dev", "sgd")
    assert len({trace.conversation_id for trace in train + dev}) == 1_800


def test_tau_bench_runs_are_imported_with_their_tools() -> None:
    traces = traces_of("tau_bench/airline/gpt-4o-airline.json.gz", "openai")
    assert (len(traces), len(calls_of(traces)), len(traces[0].tools)) == (200, 1_164, 14)
    assert Counter(trace.outcome for trace in traces) == {"resolved": 84, "unresolved": 116}
    assert sum(message.is_error for trace in traces for message in trace.messages) == 73
    assert not any("###STOP###" in message.content for trace in traces for message in trace.messages)


def test_every_tau_bench_answer_has_the_name_of_the_call_before_it() -> None:
    for trace in traces_of("tau_bench/airline/gpt-4o-airline.json.gz", "openai"):
        for before, message in zip(trace.messages, trace.messages[1:], strict=False):
            assert message.role != "tool" or message.name == before.tool_calls[0].name
