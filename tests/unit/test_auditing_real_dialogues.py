"""Adversaries in scenarios made from real dialogues: none is paid more than the floor, and the audit takes seconds."""

import os
from pathlib import Path
from time import process_time

import pytest

from agentgym.evaluation.audit import audit_reward
from agentgym.scenarios.from_traces import RecordedScenario, make_recorded_pack
from agentgym.traces.importers import TraceFormat, import_traces
from agentgym.traces.trace import Trace

SHARED_DATA = Path(os.environ.get("AGENTGYM_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))

pytestmark = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"real dialogues are not at {SHARED_DATA}; set AGENTGYM_SHARED_DATA")


@pytest.mark.parametrize(
    ("name", "format"),
    [("sgd/train/dialogues_001.json.gz", "sgd"), ("tau_bench/airline/gpt-4o-airline.json.gz", "openai")],
    ids=["sgd", "tau-bench"],
)
def test_no_adversary_is_above_its_floor(name: str, format: TraceFormat) -> None:
    traces = [item for item in import_traces(SHARED_DATA / name, format) if isinstance(item, Trace)]
    pack = make_recorded_pack(traces, (), "digest")
    began = process_time()
    audit = audit_reward(RecordedScenario(pack), pack.train, seed=0)
    assert process_time() - began < 10
    assert audit.verdict == "sound", audit.reasons
    assert audit.floor is not None
    floor = audit.players[audit.floor].reward.mean
    assert all(player.reward.mean <= floor + 1e-9 for player in audit.players.values() if player.role == "adversary")
