"""A run of the loop that is killed and started again, moment after moment, ends as one that was never killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from agentgym.policies.planner import PlannerConfig
from agentgym.registry import Lineage, ModelRegistry
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.production_log import write_logs
from agentgym.settings import Settings
from agentgym.traces.trace import Trace
from agentgym.training.warm_start import ImitationConfig, imitate
from tasks.artifacts import write_checkpoint
from tasks.registry import open_registry

PLANNER = PlannerConfig(table_bits=12, hidden=16)
# Kills itself when a function is called for the given time, then improves as the command line does.
RUN = """
import importlib, json, os, signal, sys
from pathlib import Path

def kill_at(module, path, calls):
    *outer, name = path.split(".")
    owner = importlib.import_module(module)
    for each in outer:
        owner = getattr(owner, each)
    step = getattr(owner, name)
    def deadly(*arguments, **named):
        nonlocal calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(*arguments, **named)
    setattr(owner, name, deadly)

from agentgym.policies.planner import PlannerConfig
from agentgym.traces.source import TraceSource
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.warm_start import ImitationConfig
from flows.improve_agent import improve_agent
from tasks.progress import Finished, listening

moment, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
if moment:
    kill_at(*moment)
done = []
with listening(lambda event: done.append(event.stage) if isinstance(event, Finished) else None):
    improvement = improve_agent(
        TraceSource(path=folder / "log.jsonl", held_out=folder / "held-out.jsonl"),
        scenario="customer_support",
        imitation=ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16)),
        training=TrainingConfig(episodes=24, batch_size=2, checkpoint_interval=1, flow_grpo=FlowGRPOSettings(group_size=4)),
        waive_live_test="nobody is served yet",
    )
print(json.dumps({"verdict": improvement.gate.verdict, "done": done}))
"""
IN_THE_TRAINING_JOB = ("tasks.training", "_report_line", 2)
AFTER_REGISTRATION = ("tasks.evaluation", "report_progress", 1)
DURING_PROMOTION = ("agentgym.registry.model_registry", "ModelRegistry.promote_without_live_test", 1)


@pytest.fixture(scope="module")
def api_url() -> Iterator[str]:
    """One Prefect server for all of these runs: each starting its own takes longer than what is tested."""
    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A workspace with logs of the expert, and a champion that learned from two of the legacy agent's."""
    world, settings = CustomerSupport(), Settings().inside(tmp_path / "workspace")
    settings.workspace.mkdir()
    train = list(write_logs(world, world.expert(), 40, seed=3))
    known = {trace.customer_id for trace in train}
    write(tmp_path / "log.jsonl", train)
    write(
        tmp_path / "held-out.jsonl", [trace for trace in write_logs(world, world.expert(), 100, seed=4) if trace.customer_id not in known]
    )
    weak = imitate(list(write_logs(world, world.legacy_agent(), 2, seed=5)), seed=5, config=ImitationConfig(planner=PLANNER))
    registry = open_registry("agent", settings)
    lineage = Lineage(snapshot_digest="0" * 64, pack_digest="0" * 64, code_version="test")
    registry.bootstrap(registry.register(write_checkpoint(weak.to_checkpoint(), settings), lineage=lineage), "It was here before.")
    return settings


def write(path: Path, traces: list[Trace]) -> None:
    path.write_text("".join(trace.model_dump_json(exclude_none=True) + "\n" for trace in traces))


def improve(settings: Settings, api_url: str, killed_at: tuple[str, str, int] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, json.dumps(killed_at), str(settings.workspace.parent)]
    home = str(settings.workspace / "prefect")
    environment = {**os.environ, "AGENTGYM_WORKSPACE": str(settings.workspace), "PREFECT_HOME": home, "PREFECT_API_URL": api_url}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def changes(registry: ModelRegistry) -> list[str]:
    return [entry.change for entry in registry.history()]


def test_a_run_killed_again_and_again_does_no_stage_twice_and_makes_one_champion(settings: Settings, api_url: str) -> None:
    for moment in (IN_THE_TRAINING_JOB, AFTER_REGISTRATION, DURING_PROMOTION):
        assert improve(settings, api_url, killed_at=moment).returncode == -signal.SIGKILL
        assert open_registry("agent", settings).resolve("@champion").version == 1
    last = improve(settings, api_url)
    assert last.returncode == 0, last.stderr[-2000:]
    told = json.loads(last.stdout.splitlines()[-1])
    assert told["verdict"] == "promote"
    assert not {"ingest traces", "synthesize scenario", "imitate agent", "train policy", "evaluate checkpoint"} & set(told["done"])
    registry = open_registry("agent", settings)
    assert [version.version for version in registry.versions()] == [1, 2]
    assert registry.resolve("@champion").version == 2
    assert changes(registry) == ["bootstrap", "challenge", "promotion"]
