"""The trainer on a real local Ray: what a run leaves behind, and how it goes on after it was interrupted."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentgym import TrainedAgent, Trainer, TrainingConfig, TrainingResult
from agentgym.errors import InvalidInput
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.policies.planner import PlannerConfig
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.flow_grpo.weights import weights_digest
from agentgym.training.material import gather_material
from agentgym.training.trainer import TrainingProgress
from agentgym.training.warm_start import ImitationConfig, imitate

SMALL = {"conversations": 60, "held_out_cases": 20, "batch_size": 2, "flow_grpo": FlowGRPOSettings(group_size=4), "seed": 5}
FILES = {
    "checkpoint.zip",
    "config.json",
    "curve.jsonl",
    "environment.json",
    "held-out.jsonl.gz",
    "last-iteration.jsonl.gz",
    "result.json",
    "start.zip",
}


@pytest.fixture(scope="module")
def start() -> Checkpoint:
    """A planner that imitates a few conversations: the warm start of a thousand takes longer than what is tested."""
    material = gather_material(TrainingConfig(**SMALL))
    planner = imitate(
        material.train[:30], tools=material.world.tools, seed=5, config=ImitationConfig(planner=PlannerConfig(table_bits=12, hidden=16))
    )
    return planner.to_checkpoint(tools=material.world.tools)


def trainer(start: Checkpoint, folder: Path, **fields: Any) -> Trainer:
    return Trainer(TrainingConfig(**{**SMALL, "episodes": 16, "output_dir": folder, **fields}), start=start)


def weights(result: TrainingResult) -> str:
    assert result.folder is not None
    return weights_digest(load_trainable_policy(Checkpoint.from_bytes((result.folder / "checkpoint.zip").read_bytes())).network)


def test_a_run_leaves_everything_behind_and_its_agent_acts(start: Checkpoint, tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    result = trainer(start, tmp_path).train(told.append)
    assert result.folder is not None
    assert {path.name for path in result.folder.iterdir()} == FILES
    assert TrainingResult.load(result.folder) == result
    assert result.metrics.episodes_completed == 16
    assert [progress.done for progress in told if progress.stage == "training"] == [1, 2]
    played = gzip.decompress((result.folder / "last-iteration.jsonl.gz").read_bytes()).splitlines()
    assert len(played) == 2 * 4
    assert all(json.loads(line)["decisions"] for line in played)
    assert TrainedAgent.load(result.folder).act([{"role": "user", "content": "I forgot my password."}]).role == "assistant"


def test_equal_seeds_give_equal_policies_in_folders_of_their_own(start: Checkpoint, tmp_path: Path) -> None:
    one, two = (trainer(start, tmp_path / name).train() for name in ("one", "two"))
    assert one.checkpoint_digest == two.checkpoint_digest
    assert one.estimates == two.estimates
    assert trainer(start, tmp_path, seed=6).train().checkpoint_digest != one.checkpoint_digest


def test_an_interrupted_run_goes_on_to_the_result_of_one_that_was_not(start: Checkpoint, tmp_path: Path) -> None:
    whole = trainer(start, tmp_path, episodes=32, checkpoint_interval=1).train()
    interrupted = trainer(start, tmp_path, episodes=32, checkpoint_interval=1)
    with pytest.raises(KeyboardInterrupt):
        interrupted.train(interrupt_in_iteration_three)
    assert interrupted.folder is not None
    folder = interrupted.folder.path
    assert not (folder / "result.json").exists()
    assert TrainedAgent.load(folder).act([{"role": "user", "content": "I forgot my password."}]).role == "assistant"
    began = datetime.fromisoformat(json.loads((folder / "environment.json").read_text())["started_at"])
    noticed = datetime.now(UTC)
    resumed = Trainer.resume(folder).train()
    assert resumed.started_at == began < noticed
    assert resumed.folder == folder
    assert resumed.checkpoint_digest == whole.checkpoint_digest
    assert len((folder / "curve.jsonl").read_text().splitlines()) == 4
    with pytest.raises(InvalidInput, match="is over"):
        Trainer.resume(folder)


def interrupt_in_iteration_three(progress: TrainingProgress) -> None:
    if progress.stage == "training" and progress.done == 3:
        raise KeyboardInterrupt


def test_a_run_starts_from_what_another_one_saved(start: Checkpoint, tmp_path: Path) -> None:
    first = trainer(start, tmp_path).train()
    second = Trainer(first.config.model_copy(update={"method": "sft", "flow_grpo": FlowGRPOSettings()}), start=first).train()
    assert second.folder is not None
    assert second.start == first.estimates
    assert Checkpoint.from_bytes((second.folder / "start.zip").read_bytes()).digest == first.checkpoint_digest
    # Whether its weights move is the method's to judge: sft keeps those it began with where customers kept out are served no better.
    assert Checkpoint.from_bytes((second.folder / "checkpoint.zip").read_bytes()).manifest.lineage["parent"] == first.checkpoint_digest
