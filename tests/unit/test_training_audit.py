"""A run asks what its reward pays before it trains, and leaves nothing behind where the answer is no."""

from pathlib import Path

import pytest

from agentgym import Trainer, TrainingConfig
from agentgym.errors import Refused
from agentgym.reward import RewardWeights
from agentgym.training.auditing import audit_training
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.material import gather_material
from agentgym.training.trainer import TrainingProgress

BROKEN = TrainingConfig(scenario="lookup", conversations=60, reward=RewardWeights(wrong_call=10.0))


def test_a_trainer_refuses_a_reward_that_pays_an_adversary_before_it_makes_a_folder(tmp_path: Path) -> None:
    told: list[TrainingProgress] = []
    trainer = Trainer(BROKEN.model_copy(update={"output_dir": tmp_path / "models"}))
    with pytest.raises(Refused, match=r"(?s)spam_tools.*set waive_audit"):
        trainer.train(told.append)
    assert {progress.stage for progress in told} == {"conversations", "audit"}
    assert not (tmp_path / "models").exists()


def test_with_a_reason_the_audit_is_kept_and_stops_nobody() -> None:
    waived = BROKEN.model_copy(update={"waive_audit": "To see what it learns."})
    audit = audit_training(gather_material(waived), waived)
    assert audit is not None
    assert audit.verdict == "refuse"
    assert waived.as_record()["waive_audit"] == "To see what it learns."


def test_a_method_that_reads_no_reward_is_not_audited() -> None:
    imitating = BROKEN.model_copy(update={"method": "sft", "flow_grpo": FlowGRPOSettings()})
    assert audit_training(gather_material(imitating), imitating) is None
