"""What training leaves behind: a checkpoint, and the curve that led to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from agentgym.policies.checkpoint import Checkpoint


class IterationMetrics(BaseModel):
    """One iteration, measured on the rollouts it learned from: sampled actions on training cases, so below what greedy play reaches.

    reward, tool_reliability, success_rate: over all rollouts of the iteration.   zero_variance_share: groups that taught nothing.
    decisions: learned from. Where they are 0 the four measures of learning are None:
    entropy: nats per decision.   kl: from the policy training started from, nats per decision; 0 when no pull towards it is configured.
    clip_share: decisions whose ratio left the clip range in the last epoch.   max_log_ratio: largest |log ratio| before the first update;
    0 to rounding, as the policy that sampled is the policy that learns.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    iteration: int
    reward: float
    tool_reliability: float
    success_rate: float
    zero_variance_share: float
    rollouts: int
    crashes: int
    decisions: int
    entropy: float | None = None
    kl: float | None = None
    clip_share: float | None = None
    max_log_ratio: float | None = None
    sampling_seconds: float
    learning_seconds: float
    syncing_seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The trained policy, and each iteration in order."""

    checkpoint: "Checkpoint"
    curve: Sequence[IterationMetrics]
