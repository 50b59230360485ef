"""How a policy is trained: the whole configuration, saved with the checkpoint it made."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from agentgym.reward import RewardWeights
from agentgym.scenarios.from_traces import RECORDED

Credit = Literal["rollout", "path"]
"""What a decision is compared with: all rollouts of its case, or those that came to it the same way."""


class FlowGRPOSettings(BaseModel):
    """Flow-GRPO's own settings.

    group_size: rollouts of one case, compared with each other.   cases_per_iteration: groups an iteration plays.   max_refills: how often
    more are drawn in place of those whose rewards are all equal.   learning_rate: at its highest; it climbs during warmup_share of the
    iterations and falls to final_rate_share of itself at the end.   epochs: updates on what an iteration played.   clip_low, clip_high:
    how far below and above 1 a probability ratio earns gradient.   kl_coefficient: pull towards the policy training started from, in
    reward points per nat.   gradient_norm_limit: longer gradients are shortened to it.   credit: what a decision is compared with.
    entropy_coefficient: reward points per nat of a decision's entropy.   adam_epsilon: gradients well below it move their weights in
    proportion rather than by a full step.   masks_truncated: whether a rollout cut off at the turn limit is left out of the loss.
    max_crash_share: of the rollouts of an iteration.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group_size: int = Field(default=16, ge=2, le=256)
    cases_per_iteration: int = Field(default=24, ge=1, le=4096)
    max_refills: int = Field(default=0, ge=0, le=10)
    learning_rate: float = Field(default=6e-3, gt=0, le=1)
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    final_rate_share: float = Field(default=0.02, ge=0, le=1)
    epochs: int = Field(default=6, ge=1, le=32)
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0, le=10)
    kl_coefficient: float = Field(default=0.03, ge=0, le=100)
    gradient_norm_limit: float = Field(default=1.0, gt=0)
    credit: Credit = "path"
    entropy_coefficient: float = Field(default=0.0, ge=0, le=100)
    adam_epsilon: float = Field(default=1e-3, gt=0, le=1)
    masks_truncated: bool = False
    max_crash_share: float = Field(default=0.2, ge=0, lt=1)


class TrainingConfig(BaseModel):
    """One training run.

    reward: other weights than the scenario's own.   num_env_runners: processes that play; 0 plays in the process that learns.
    save_every: iterations between the points an interrupted run resumes from.   time_limit_seconds: no iteration starts after it; None
    for no limit. A run stopped by the clock is not repeatable, one that ends by itself is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    iterations: int = Field(default=120, ge=1, le=100_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    reward: RewardWeights | None = None
    flow_grpo: FlowGRPOSettings = FlowGRPOSettings()
    num_env_runners: int = Field(default=0, ge=0, le=1024)
    torch_threads: int = Field(default=1, ge=1, le=256)
    save_every: int = Field(default=5, ge=1)
    time_limit_seconds: float | None = Field(default=None, gt=0)

    @classmethod
    def suited_to(cls, scenario: str, *, seed: int = 0, iterations: int | None = None) -> Self:
        """What works for a scenario of this name.   iterations: in place of its own.

        A declared world draws as many new cases as training asks for. A recorded scenario has only the recorded ones, which imitation has
        learned from already: on them a policy looks better than it is, so training is short, gentle, and held close to imitation.
        """
        suited = {"iterations": 10, "flow_grpo": _GENTLE} if scenario == RECORDED else {"num_env_runners": 2}
        asked = {} if iterations is None else {"iterations": iterations}
        return cls.model_validate({"seed": seed, **suited, **asked})


_GENTLE = FlowGRPOSettings(group_size=8, cases_per_iteration=48, learning_rate=1e-3, final_rate_share=0.2, epochs=2, kl_coefficient=0.5)
