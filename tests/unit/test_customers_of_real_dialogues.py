"""The customers of real dialogues, on their own against the recorded agents."""

import os
from functools import cache
from pathlib import Path

import pytest

from agentgym.scenarios.customer_fidelity import CustomerMatch, match_customers
from agentgym.scenarios.customers import evenly
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


def traces(name: str, format: TraceFormat) -> list[Trace]:
    return [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]


@cache
def matches(name: str, format: TraceFormat) -> tuple[CustomerMatch, ...]:
    """Of customers that nothing was learned from; tasks and dialogues are on one side only."""
    everything = traces(name, format)
    clusters = sorted({trace.cluster_id for trace in everything})
    held_out = set(clusters[::5])
    learned = [trace for trace in everything if trace.cluster_id not in held_out]
    judged = [trace for trace in everything if trace.cluster_id in held_out]
    scenario = RecordedScenario(make_recorded_pack(list(evenly(learned, 150)), (), "digest"), customer="goal")
    return tuple(match_customers(evenly(judged, 40), scenario))


@pytest.mark.parametrize(
    ("name", "format"), [("sgd/train", "sgd"), ("tau_bench/airline/gpt-4o-airline.json.gz", "openai")], ids=["sgd", "tau-bench"]
)
def test_no_customer_says_what_only_a_tool_told(name: str, format: TraceFormat) -> None:
    assert [match.leaks for match in matches(name, format) if match.leaks] == []
