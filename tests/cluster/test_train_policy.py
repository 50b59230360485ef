"""The planner in the help desk, trained as a program of its own on a real local Ray."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.policies.planner import PlannerConfig
from agentgym.scenarios.customer_support import CustomerSupport
from agentgym.scenarios.pack import ScenarioPack
from agentgym.scenarios.production_log import write_logs
from agentgym.store import ArtifactRef, FileStore
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.warm_start import ImitationConfig, imitate
from ray_jobs.spec import TrainPolicyResult, TrainPolicySpec
from ray_jobs.train_policy import main

SMALL = FlowGRPOSettings(group_size=4, max_refills=0)
SECONDS = {"sampling_seconds", "learning_seconds", "syncing_seconds"}
MakeSpec = Callable[..., TrainPolicySpec]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[FileStore, ArtifactRef, ArtifactRef]:
    """A store with a pack and a planner that imitates a few logs of the help desk."""
    store, world = FileStore(tmp_path_factory.mktemp("store")), CustomerSupport()
    traces = list(write_logs(world, world.legacy_agent(), 40, seed=5))
    planner = imitate(traces[:30], seed=5, config=ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16)))
    customers = {trace.customer_id for trace in traces[:30]}
    pack = world.make_pack(traces[:30], [trace for trace in traces[30:] if trace.customer_id not in customers], "0" * 64)
    return store, store.write(pack.to_bytes()), store.write(planner.to_checkpoint().to_bytes())


@pytest.fixture
def make_method_spec(start: tuple[FileStore, ArtifactRef, ArtifactRef]) -> MakeSpec:
    """A spec for another method than Flow-GRPO, with the planner itself as teacher."""
    store, pack, checkpoint = start

    def make(**config: object) -> TrainPolicySpec:
        chosen = TrainingConfig.model_validate({"batch_size": 8, "learning_rate": 1e-3, **config})
        return TrainPolicySpec(pack=pack, checkpoint=checkpoint, teacher=checkpoint, config=chosen, store=str(store.root))

    return make


@pytest.fixture
def make_spec(start: tuple[FileStore, ArtifactRef, ArtifactRef]) -> MakeSpec:
    store, pack, checkpoint = start

    def make(**config: object) -> TrainPolicySpec:
        chosen = TrainingConfig.model_validate({"batch_size": 2, "flow_grpo": SMALL, "checkpoint_interval": 1, **config})
        return TrainPolicySpec(pack=pack, checkpoint=checkpoint, config=chosen, store=str(store.root))

    return make


def run_job(spec: TrainPolicySpec, folder: Path) -> TrainPolicyResult:
    (folder / "spec.json").write_text(spec.model_dump_json())
    assert main(["--spec", str(folder / "spec.json"), "--result", str(folder / "result.json")]) == 0
    return TrainPolicyResult.model_validate_json((folder / "result.json").read_bytes())


def figures(result: TrainPolicyResult) -> list[dict[str, object]]:
    return [metrics.model_dump(exclude=SECONDS) for metrics in result.curve]


@pytest.mark.parametrize(("method", "teachers"), [("rft", 0), ("distill", 1)])
def test_other_methods_are_jobs_too(
    make_method_spec: MakeSpec, start: tuple[FileStore, ArtifactRef, ArtifactRef], tmp_path: Path, method: str, teachers: int
) -> None:
    """What they do not measure is left open, and only who was learned from is in the lineage."""
    result = run_job(make_method_spec(method=method, episodes=64, methods={"rft": {"rounds": 1}, "fitting": {"epochs": 1}}), tmp_path)
    trained = Checkpoint.from_bytes(start[0].read(result.checkpoint))
    assert [metrics.kl for metrics in result.curve] == [None]
    assert method in trained.manifest.training
    assert ("teacher" in trained.manifest.lineage) == bool(teachers)


def test_the_result_is_a_checkpoint_that_names_where_it_came_from(
    make_spec: MakeSpec, start: tuple[FileStore, ArtifactRef, ArtifactRef], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, pack, first = start
    result = run_job(make_spec(episodes=16), tmp_path)
    trained, before = (Checkpoint.from_bytes(store.read(ref)) for ref in (result.checkpoint, first))
    assert trained.weights_digest != before.weights_digest
    assert trained.manifest.lineage["parent"] == before.digest
    assert trained.manifest.lineage["pack"] == ScenarioPack.from_bytes(store.read(pack)).digest
    assert load_trainable_policy(trained).network is not None
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(line["done"], line["total"]) for line in lines] == [(1, 2), (2, 2)]


def test_a_job_that_is_killed_goes_on_to_the_result_of_one_that_was_not(make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(episodes=32)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    expected = run_job(spec, whole)
    (killed / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "ray_jobs.train_policy", "--spec", str(killed / "spec.json"), "--result", str(killed / "result.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            assert process.stdout.readline()
        os.killpg(process.pid, signal.SIGKILL)
    assert not (killed / "result.json").exists()
    assert list(killed.glob("resume-*.zip"))
    resumed = run_job(spec, killed)
    assert figures(resumed) == figures(expected)
    assert resumed.checkpoint == expected.checkpoint
    assert not list(killed.glob("resume-*.zip"))


def test_runners_in_other_processes_play_the_planner(make_spec: MakeSpec, tmp_path: Path) -> None:
    result = run_job(make_spec(episodes=16, num_env_runners=2), tmp_path)
    assert all(metrics.max_log_ratio is not None and metrics.max_log_ratio < 1e-4 for metrics in result.curve)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("{}", "A spec must have the fields of TrainPolicySpec; pack: Field required"),
        ("not json", "A spec must have the fields of TrainPolicySpec; the file: Invalid JSON"),
        (None, "--spec must lead to a file; nothing is at"),
    ],
)
def test_a_bad_spec_is_refused_for_good(tmp_path: Path, capfd: pytest.CaptureFixture[str], spec: str | None, complaint: str) -> None:
    if spec is not None:
        (tmp_path / "spec.json").write_text(spec)
    assert main(["--spec", str(tmp_path / "spec.json"), "--result", str(tmp_path / "result.json")]) == 2
    assert complaint in capfd.readouterr().err
    assert not (tmp_path / "result.json").exists()


def test_a_reference_that_leads_nowhere_is_refused_for_good(make_spec: MakeSpec, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gone = ArtifactRef(uri=(tmp_path / "gone").as_uri(), digest="0" * 64)
    (tmp_path / "spec.json").write_text(make_spec().model_copy(update={"pack": gone}).model_dump_json())
    assert main(["--spec", str(tmp_path / "spec.json"), "--result", str(tmp_path / "result.json")]) == 2
    assert "nothing is at" in capfd.readouterr().err


def test_a_job_trains_across_the_nodes_of_the_ray_it_is_pointed_to(make_spec: MakeSpec, two_nodes: str, tmp_path: Path) -> None:
    """Its runners take a processor each and a node has one, so that they can only play on both; the specification lies at a URI."""
    (tmp_path / "spec.json").write_text(make_spec(episodes=16, num_env_runners=2).model_dump_json())
    addresses = ["--spec", f"file://{tmp_path}/spec.json", "--result", f"file://{tmp_path}/result.json"]
    command = [sys.executable, "-m", "ray_jobs.train_policy", *addresses]
    done = subprocess.run(command, env={**os.environ, "RAY_ADDRESS": two_nodes}, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    result = TrainPolicyResult.model_validate_json((tmp_path / "result.json").read_bytes())
    assert [metrics.rollouts for metrics in result.curve] == [8, 8]
