"""Flow-GRPO's loss over decisions."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    """The loss to minimise, and what is worth watching about it; every tensor has shape ().

    kl: from the reference policy, nats per decision, weighted as the loss is.   clip_share: of the decisions.
    """

    total: Tensor
    kl: Tensor
    clip_share: Tensor
    max_log_ratio: Tensor


def policy_loss(
    log_probability: Tensor,
    *,
    sampled_log_probability: Tensor,
    advantage: Tensor,
    weight: Tensor,
    clip_low: float,
    clip_high: float,
    reference_log_probability: Tensor | None = None,
    kl_coefficient: float = 0.0,
    entropy: Tensor | None = None,
    entropy_coefficient: float = 0.0,
) -> PolicyLoss:
    """Clipped surrogate with optional pulls towards a reference policy and towards chance; tensors have shape (N,), an entry a decision.

    L = Σ w · ( −min(ρA, clip(ρ, 1 − clip_low, 1 + clip_high)·A) + β·k3 − η·H )
    ρ = exp(log π − log π_sampled),   k3 = exp(d) − d − 1,   d = log π_ref − log π
    Li et al. 2025 (Flow-GRPO), eq. 5, over decisions in place of tokens; unequal clip bounds after Yu et al. 2025 (DAPO), eq. 10; k3 after
    Schulman 2020, "Approximating KL Divergence".
    """
    log_ratio = log_probability - sampled_log_probability
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high)
    total = -(weight * torch.minimum(ratio * advantage, clipped * advantage)).sum()
    kl = torch.zeros(())
    if reference_log_probability is not None:
        difference = reference_log_probability - log_probability
        kl = (weight * (difference.exp() - difference - 1)).sum()
        total = total + kl_coefficient * kl
    if entropy is not None and entropy_coefficient > 0:
        total = total - entropy_coefficient * (weight * entropy).sum()
    return PolicyLoss(
        total=total,
        kl=kl.detach(),
        clip_share=(ratio != clipped).float().mean().detach(),
        max_log_ratio=log_ratio.detach().abs().max(),
    )
