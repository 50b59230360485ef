"""A language model made on the spot, trained through RLlib as the planner is."""

from pathlib import Path

import pytest
from safetensors.torch import load

from agentgym.training.result import TrainingResult
from agentgym.training.run_folder import RunFolder
from agentgym.training.trainer import Trainer


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A few iterations in the small world, played by a process of their own."""
    trainer = Trainer(
        scenario="lookup",
        policy="causal_lm",
        base_model="tiny",
        conversations=60,
        episodes=96,
        batch_size=4,
        held_out_cases=20,
        num_env_runners=1,
        output_dir=tmp_path_factory.mktemp("runs"),
    )
    return trainer.train()


def test_what_was_sampled_elsewhere_is_what_is_learned_here(result: TrainingResult) -> None:
    assert result.folder is not None
    curve = RunFolder(result.folder).read_curve()
    ratios = [metrics.max_log_ratio for metrics in curve if metrics.max_log_ratio is not None]
    assert len(curve) == 3
    assert ratios
    assert max(ratios) < 1e-4


def test_only_the_adapter_has_learned(result: TrainingResult) -> None:
    assert isinstance(result.folder, Path)
    start, trained = (RunFolder(result.folder).read_checkpoint(name) for name in ("start.zip", "checkpoint.zip"))
    assert start is not None
    assert trained is not None
    before, after = load(start.weights), load(trained.weights)
    assert all(before[name].equal(after[name]) for name in before if name.startswith("base."))
    assert any(not before[name].equal(after[name]) for name in before if name.startswith("adapter."))
