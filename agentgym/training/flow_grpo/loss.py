"""Flow-GRPO's loss over decisions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from agentgym.training.flow_grpo.settings import FlowGRPOSettings


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyLoss:
    """The loss to minimise, and what is worth watching about it; every tensor has shape ().

    kl: from the reference policy, nats per decision, weighted as the loss is.   clip_share: of the decisions.   max_log_ratio: largest
    |log ρ|.   importance_mean, importance_max: of the weights π_old ÷ π_sampled as they enter the loss; 1 where they do not.
    """

    total: Tensor
    kl: Tensor
    clip_share: Tensor
    max_log_ratio: Tensor
    importance_mean: Tensor
    importance_max: Tensor


def policy_loss(
    log_probability: Tensor,
    *,
    sampled_log_probability: Tensor,
    old_log_probability: Tensor,
    advantage: Tensor,
    weight: Tensor,
    settings: FlowGRPOSettings,
    reference_log_probability: Tensor | None = None,
    entropy: Tensor | None = None,
) -> PolicyLoss:
    """Clipped surrogate with optional pulls towards a reference policy and towards chance; tensors have shape (N,), an entry a decision.

    sampled_log_probability: as the decision was sampled.   old_log_probability: by the learner before its first update on the batch; the
    sampled one where that is the same.   weight: of each decision, as `learning_batch` gives it.

    L = Σ w · ( −u · S + β·k3 − η·H ),   S = min(ρA, clip(ρ, 1 − clip_low, 1 + clip_high)·A),   ρ = exp(log π − log π_old)
    Li et al. 2025 (Flow-GRPO), eq. 5, over decisions in place of tokens; unequal clip bounds after Yu et al. 2025 (DAPO), eq. 10.
    With `dual_clip` c, where A < 0:  S = max(S, c·A).   Ye et al. 2020 (dual-clip PPO).
    u = min(v, importance_cap), or with `importance_range` v inside it and 0 outside, else 1;   v = π_old ÷ π_sampled, without gradient.
    Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training" (truncated); Ling Team 2025, arXiv 2510.18855
    (masked, IcePop).   k3 = exp(d) − d − 1,  d = log π_ref − log π.   Schulman 2020, "Approximating KL divergence".
    """
    log_ratio = log_probability - old_log_probability
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - settings.clip_low, 1 + settings.clip_high)
    surrogate = torch.minimum(ratio * advantage, clipped * advantage)
    if settings.dual_clip is not None:
        surrogate = torch.where(advantage < 0, torch.maximum(surrogate, settings.dual_clip * advantage), surrogate)
    importance = _importance(old_log_probability, sampled_log_probability, settings)
    total = -(weight * importance * surrogate).sum()
    kl = torch.zeros_like(total)
    if reference_log_probability is not None:
        difference = reference_log_probability - log_probability
        kl = (weight * (difference.exp() - difference - 1)).sum()
        total = total + settings.kl_coefficient * kl
    if entropy is not None and settings.entropy_coefficient > 0:
        total = total - settings.entropy_coefficient * (weight * entropy).sum()
    return PolicyLoss(
        total=total,
        kl=kl.detach(),
        clip_share=(ratio != clipped).float().mean().detach(),
        max_log_ratio=log_ratio.detach().abs().max(),
        importance_mean=importance.mean(),
        importance_max=importance.max(),
    )


def _importance(old_log_probability: Tensor, sampled_log_probability: Tensor, settings: FlowGRPOSettings) -> Tensor:
    """What each decision weighs for having been sampled by other weights or other arithmetic, (N,), (N,) → (N,)."""
    if not settings.weighs_importance:
        return torch.ones_like(old_log_probability)
    importance = (old_log_probability - sampled_log_probability).detach().exp()
    if settings.importance_range is not None:
        lowest, highest = settings.importance_range
        return torch.where((importance >= lowest) & (importance <= highest), importance, 0.0)
    return importance.clamp(max=settings.importance_cap)
