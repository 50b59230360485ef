"""Settings of the methods besides Flow-GRPO, which has its own."""

from pydantic import BaseModel, ConfigDict, Field


class FittingSettings(BaseModel):
    """How decisions are learned from a fixed set of examples.

    epochs: how often all examples are gone through, at most.   patience: epochs in a row without a lower validation loss before it ends.
    validation_share: of the customers, kept out of learning.   gradient_norm_limit: longer gradients are shortened to it.
    adam_epsilon: gradients well below it move their weights in proportion rather than by a full step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=12, ge=1, le=1000)
    patience: int = Field(default=3, ge=1, le=1000)
    validation_share: float = Field(default=0.15, gt=0, lt=1)
    gradient_norm_limit: float = Field(default=1.0, gt=0)
    adam_epsilon: float = Field(default=1e-3, gt=0, le=1)


class RFTSettings(BaseModel):
    """Rejection sampling.

    rounds: of playing and learning; the episodes are shared out among them.   group_size: rollouts of a case in a round.
    kept_per_case: different ways to solve a case that are learned from in a round, at most.   epochs: through what a round kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=4, ge=1, le=1000)
    group_size: int = Field(default=8, ge=1, le=256)
    kept_per_case: int = Field(default=2, ge=1, le=256)
    epochs: int = Field(default=2, ge=1, le=1000)


class DPOSettings(BaseModel):
    """Direct preference optimisation.

    beta: how strongly it is held to the policy it starts from; the smaller, the further it may go.   group_size: rollouts of a case, of
    which the best and the worst make a pair, where no record does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    beta: float = Field(default=0.1, gt=0, le=100)
    group_size: int = Field(default=8, ge=2, le=256)


class MethodSettings(BaseModel):
    """All of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fitting: FittingSettings = FittingSettings()
    rft: RFTSettings = RFTSettings()
    dpo: DPOSettings = DPOSettings()
