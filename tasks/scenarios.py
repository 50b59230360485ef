"""From a snapshot to cases that can be played."""

from agentgym.scenarios.edge_cases.making import with_edge_cases
from agentgym.scenarios.from_traces import RECORDED, make_recorded_pack
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.registry import load_world
from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.traces.snapshot import DatasetSnapshot
from agentgym.training.material import FRESH_PER_TRACE
from tasks.artifacts import read_snapshot, write_pack
from tasks.step import cached_step


@cached_step
def synthesize_scenario(snapshot: ArtifactRef, scenario: str, settings: Settings) -> ArtifactRef:
    """The pack of cases behind the traces: of the world of this name, or `recorded`, made from the traces themselves."""
    return write_pack(with_edge_cases(_make_pack(read_snapshot(snapshot, settings), scenario)), settings)


def _make_pack(snapshot: DatasetSnapshot, scenario: str) -> ScenarioPack:
    if scenario == RECORDED:
        return make_recorded_pack(snapshot.train, snapshot.held_out, snapshot.digest)
    return load_world(scenario).make_pack(snapshot.train, snapshot.held_out, snapshot.digest, fresh_per_trace=FRESH_PER_TRACE)
