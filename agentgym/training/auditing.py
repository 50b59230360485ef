"""The reward of a run, audited before anything is trained by it."""

from collections.abc import Callable

from agentgym.evaluation.audit import audit_reward, require_sound_reward
from agentgym.training.config import TrainingConfig
from agentgym.training.material import TrainingMaterial
from agentgym.verdicts import RewardAudit


def audit_training(
    material: TrainingMaterial, config: TrainingConfig, *, on_progress: Callable[[int, int], None] | None = None
) -> RewardAudit | None:
    """What adversaries are paid on the training cases; None where the method reads no reward.

    Raises Refused when one is paid and `config.waive_audit` gives no reason to train all the same.
    """
    if not config.reads_reward:
        return None
    assert config.seed is not None, "a seed is drawn before anything is made from it"
    audit = audit_reward(material.world, material.pack.train, reward=config.reward, seed=config.seed, on_progress=on_progress)
    require_sound_reward(audit, waiver=config.waive_audit)
    return audit
