"""What an update did, in numbers: of a micro batch, of a step on all of them, and of all steps on a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from agentgym.training.flow_grpo.loss import PolicyLoss
from agentgym.training.flow_grpo.micro_batch import MicroTensors


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A step on N decisions, or the part of one that a micro batch is.

    loss, kl: weighted sums, which add up over parts.   entropy, clip_share, mean_log_ratio, importance_mean: means over the decisions.
    max_log_ratio, mean_log_ratio: |log ratio| against what was sampled, before the step.   gradient_norm: before it is shortened.
    """

    decisions: int
    loss: float
    kl: float
    entropy: float
    clip_share: float
    mean_log_ratio: float
    max_log_ratio: float
    importance_mean: float
    importance_max: float
    gradient_norm: float = 0.0

    @classmethod
    def of(cls, loss: PolicyLoss, outputs: Mapping[str, Tensor], micro_batch: MicroTensors) -> Self:
        drift = (outputs["log_probability"].detach() - micro_batch.log_probability).abs()
        return cls(
            decisions=len(drift),
            loss=float(loss.total.detach()),
            kl=float(loss.kl),
            entropy=float(outputs["entropy"].detach().mean()),
            clip_share=float(loss.clip_share),
            mean_log_ratio=float(drift.mean()),
            max_log_ratio=float(drift.max()),
            importance_mean=float(loss.importance_mean),
            importance_max=float(loss.importance_max),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Learned:
    """What all steps on a batch did.   entropy, kl, clip_share: in the last step.   max_log_ratio and importance: before the first.

    gradient_norm: the largest, before it is shortened.
    """

    entropy: float
    kl: float
    clip_share: float
    max_log_ratio: float
    importance_mean: float
    importance_max: float
    gradient_norm: float


def whole(parts: Sequence[Step], *, gradient_norm: float) -> Step:
    """The step that these are the parts of."""
    decisions = sum(part.decisions for part in parts)
    share = [part.decisions / decisions for part in parts]

    def mean(name: str) -> float:
        return float(sum(weight * getattr(part, name) for weight, part in zip(share, parts, strict=True)))

    return Step(
        decisions=decisions,
        loss=sum(part.loss for part in parts),
        kl=sum(part.kl for part in parts),
        entropy=mean("entropy"),
        clip_share=mean("clip_share"),
        mean_log_ratio=mean("mean_log_ratio"),
        max_log_ratio=max(part.max_log_ratio for part in parts),
        importance_mean=mean("importance_mean"),
        importance_max=max(part.importance_max for part in parts),
        gradient_norm=gradient_norm,
    )


def learned(steps: Sequence[Step]) -> Learned:
    first, last = steps[0], steps[-1]
    return Learned(
        entropy=last.entropy,
        kl=last.kl,
        clip_share=last.clip_share,
        max_log_ratio=first.max_log_ratio,
        importance_mean=first.importance_mean,
        importance_max=first.importance_max,
        gradient_norm=max(step.gradient_norm for step in steps),
    )
