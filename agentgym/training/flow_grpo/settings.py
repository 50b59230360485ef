"""Flow-GRPO's settings."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

Credit = Literal["rollout", "path", "state"]
"""What a decision is compared with: all rollouts of its case, those that came to it the same way, or those that came to the same state."""

Advantage = Literal["dr_grpo", "grpo", "rloo", "reinforce++"]
"""How a reward is compared: against the mean of the others, and on which scale."""

Aggregation = Literal["rollout_mean", "token_mean", "const"]
"""How much of the loss a decision is: an even share of its rollout, of all decisions, or of a fixed length."""


class FlowGRPOSettings(BaseModel):
    """Flow-GRPO's own settings. Learning rate, batch size (cases an iteration plays) and discount are the training's, whatever its method:
    they come from `TrainingConfig`, to the algorithm as RLlib's `lr` and `gamma` and as `batch_size`.

    Playing
    group_size: rollouts of one case, compared with each other.   max_refills: how often more are drawn in place of those whose rewards
    are all equal.   drops_equal_groups: whether such groups are left out; kept, they cost time and teach nothing.
    max_crash_share: of the rollouts of an iteration.   settles_after: groups in a row that a case, or a course of cases, is solved by
    every rollout or by none before it is drawn rarely; None draws on.

    Credit
    advantage, credit: how and with what a decision's reward is compared.   step_weight: of what is compared at equal states, under credit
    "state", against what is compared over the whole rollout.   turn_weight: of what a turn earned beyond its rollout's mean; without
    effect where the rollout's reward is broadcast evenly.   normalises_terms: whether each named term of the reward is put on its group's
    own scale before they are summed; what a turn earned beyond its rollout's mean stays in points of the reward.   term_weights: of such
    terms in that sum, by name; 1 where none is given.

    Loss
    aggregation: how much of the loss a decision is.   nominal_decisions: the fixed length under aggregation "const".   masks_truncated:
    whether a rollout cut off at the turn limit is left out of the loss.   clip_low, clip_high: how far below and above 1 a probability
    ratio earns gradient.   dual_clip: how many times a bad decision's advantage it can cost at most, however its ratio grew; None for no
    bound.   importance_cap: highest weight of a decision that other weights, or other arithmetic, sampled; None weighs all alike.
    importance_range: in place of the cap, the lowest and highest such weight; a decision outside is left out.   kl_coefficient: pull
    towards the policy training started from, in reward points per nat.   entropy_coefficient: reward points per nat of entropy.

    Updates
    warmup_share: of the iterations, in which the learning rate climbs; then it falls to final_rate_share of itself at the end.
    epochs: updates on what an iteration played.   gradient_norm_limit: longer gradients are shortened to it.   adam_epsilon: gradients
    well below it move their weights in proportion rather than by a full step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    group_size: int = Field(default=16, ge=2, le=256)
    max_refills: int = Field(default=0, ge=0, le=10)
    drops_equal_groups: bool = True
    max_crash_share: float = Field(default=0.2, ge=0, lt=1)
    settles_after: int | None = Field(default=None, ge=1, le=1000)

    advantage: Advantage = "dr_grpo"
    credit: Credit = "path"
    step_weight: float = Field(default=1.0, ge=0, le=100)
    turn_weight: float = Field(default=1.0, ge=0, le=100)
    normalises_terms: bool = False
    term_weights: dict[str, FiniteFloat] = {}

    aggregation: Aggregation = "rollout_mean"
    nominal_decisions: int = Field(default=64, ge=1, le=1_000_000)
    masks_truncated: bool = False
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0, le=10)
    dual_clip: float | None = Field(default=None, gt=1, le=100)
    importance_cap: float | None = Field(default=None, gt=0, le=100)
    importance_range: tuple[float, float] | None = None
    kl_coefficient: float = Field(default=0.03, ge=0, le=100)
    entropy_coefficient: float = Field(default=0.0, ge=0, le=100)

    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    final_rate_share: float = Field(default=0.02, ge=0, le=1)
    epochs: int = Field(default=6, ge=1, le=32)
    gradient_norm_limit: float = Field(default=1.0, gt=0)
    adam_epsilon: float = Field(default=1e-3, gt=0, le=1)

    @property
    def needs_state_hashes(self) -> bool:
        """Whether rollouts must say in which state each turn was taken."""
        return self.credit == "state"

    @property
    def weighs_importance(self) -> bool:
        """Whether decisions weigh by how much more likely the learner finds them than what sampled them did."""
        return self.importance_cap is not None or self.importance_range is not None

    @model_validator(mode="after")
    def _one_way_to_weigh_importance(self) -> Self:
        if self.importance_cap is not None and self.importance_range is not None:
            raise ValueError(
                f"Importance is capped or masked, not both; importance_cap is {self.importance_cap!r} and importance_range "
                f"{self.importance_range!r}. Leave one of them out."
            )
        if self.importance_range is not None and not 0 < self.importance_range[0] <= 1 <= self.importance_range[1]:
            raise ValueError(
                f"importance_range must hold 1, the weight on-policy, between two numbers above 0; got {self.importance_range!r}. "
                "Try (0.5, 2.0)."
            )
        return self

    @model_validator(mode="after")
    def _weights_only_what_is_normalised(self) -> Self:
        if self.term_weights and not self.normalises_terms:
            raise ValueError(
                f"term_weights weigh normalised terms, and normalises_terms is off; got {self.term_weights!r}. "
                "Turn it on, or weigh the terms in the reward itself."
            )
        return self
