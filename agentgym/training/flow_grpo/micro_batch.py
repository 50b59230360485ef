"""What learners are sent: a share of the batch for each, in parts small enough for one forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agentgym.episode import TrainablePolicy
from agentgym.training.flow_grpo.batch import LearningBatch

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """N decisions as arrays.   evidence: as the policy collates it.   log_probability: as sampled; it, advantage and weight: shape (N,)."""

    evidence: Mapping[str, NDArray[np.generic]]
    log_probability: FloatArray
    advantage: FloatArray
    weight: FloatArray

    def tensors(self, device: torch.device) -> "MicroTensors":
        return MicroTensors(
            evidence={name: torch.from_numpy(values).to(device) for name, values in self.evidence.items()},
            log_probability=torch.from_numpy(self.log_probability).to(device),
            advantage=torch.from_numpy(self.advantage).to(device),
            weight=torch.from_numpy(self.weight).to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroTensors:
    """A `MicroBatch` where the network is."""

    evidence: Mapping[str, Tensor]
    log_probability: Tensor
    advantage: Tensor
    weight: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """What one learner learns from: whole rollouts, with advantages and weights that were computed before the batch was shared out."""

    micro_batches: tuple[MicroBatch, ...]


def shards(batch: LearningBatch, policy: TrainablePolicy, *, learners: int, max_decisions: int | None) -> list[Shard]:
    """A shard for each of the learners, an empty one where there are more of them than rollouts.

    learners: 0 is the one in this process.   max_decisions: of a micro batch; None keeps a shard whole.
    """
    parts = batch.split(learners) if learners > 1 else [batch]
    filled = [Shard(micro_batches=tuple(_micro_batch(piece, policy) for piece in _pieces(part, max_decisions))) for part in parts]
    return filled + [Shard(micro_batches=())] * (learners - len(filled))


def _pieces(part: LearningBatch, max_decisions: int | None) -> list[LearningBatch]:
    return [part] if max_decisions is None else part.micro(max_decisions)


def _micro_batch(piece: LearningBatch, policy: TrainablePolicy) -> MicroBatch:
    return MicroBatch(
        evidence=policy.collate(piece.decisions),
        log_probability=piece.log_probabilities.astype(np.float32),
        advantage=piece.advantages.astype(np.float32),
        weight=piece.weights.astype(np.float32),
    )
