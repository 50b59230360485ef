"""The process that learns: RLlib's torch learner with Flow-GRPO's loss and its own optimizer."""

from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

from agentgym.errors import ContractBroken, InvalidInput
from agentgym.training.flow_grpo.loss import PolicyLoss, policy_loss

# The sampler and the learner add the same float32 numbers in another order, so ratios are 1 to rounding.
ROUNDING = 1e-3


class FlowGRPOLearner(TorchLearner):
    """Learns from batches that the weights it holds have sampled, and refuses all others."""

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = [parameter for parameter in self._module[module_id].parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, eps=config.settings.adam_epsilon)
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=config.lr)

    def update(self, *, sampled_by: frozenset[str], learning_rate: float, **arguments: Any) -> Any:
        """RLlib's update. sampled_by: digests of the weights that sampled the batch.   learning_rate: of this update.

        Raises ContractBroken when one of them is not the digest of the weights held now.
        """
        self._require_own_weights(sampled_by)
        self._is_first_epoch = True
        for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
            self._set_optimizer_lr(optimizer, learning_rate)
        return super().update(**arguments)

    def compute_loss_for_module(self, *, module_id: str, config: Any, batch: Mapping[str, Tensor], fwd_out: Mapping[str, Tensor]) -> Tensor:
        settings = config.settings
        loss = policy_loss(
            fwd_out["log_probability"],
            sampled_log_probability=batch["log_probability"][0],
            advantage=batch["advantage"][0],
            weight=batch["weight"][0],
            clip_low=settings.clip_low,
            clip_high=settings.clip_high,
            reference_log_probability=batch["reference_log_probability"][0] if settings.kl_coefficient > 0 else None,
            kl_coefficient=settings.kl_coefficient,
            entropy=fwd_out["entropy"],
            entropy_coefficient=settings.entropy_coefficient,
        )
        self._require_ratio_one(loss)
        entropy = fwd_out["entropy"].detach().mean()
        self.metrics.log_dict({"kl": loss.kl, "clip_share": loss.clip_share, "entropy": entropy}, key=module_id, window=1)
        return loss.total

    def compute_gradients(self, loss_per_module: Mapping[str, Tensor], **arguments: Any) -> Any:
        gradients = super().compute_gradients(loss_per_module, **arguments)
        loss = sum(loss_per_module.values(), torch.zeros(()))
        norm = torch.nn.utils.get_total_norm([gradient for gradient in gradients.values() if gradient is not None])
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise InvalidInput(
                f"Loss and gradient must stay finite; the loss is {loss.item()!r}, the gradient's norm {norm.item()!r}. "
                f"Lower the learning rate ({self.config.settings.learning_rate!r}) or the reward weights; the policy is as it was before."
            )
        return gradients

    def _require_own_weights(self, sampled_by: frozenset[str]) -> None:
        own = self.module[DEFAULT_MODULE_ID].unwrapped().digest
        if sampled_by != {own}:
            raise ContractBroken(
                f"A batch must be sampled by the weights that learn from it, {own[:12]}; it was sampled by "
                f"{sorted(digest[:12] for digest in sampled_by)!r}. Sync the weights before sampling."
            )

    def _require_ratio_one(self, loss: PolicyLoss) -> None:
        """Before the first step on a batch, the network must give each decision the log-probability the policy sampled it with."""
        if not self._is_first_epoch:
            return
        self._is_first_epoch = False
        self.metrics.log_value((DEFAULT_MODULE_ID, "max_log_ratio"), loss.max_log_ratio, window=1)
        if loss.max_log_ratio > ROUNDING:
            raise ContractBroken(
                f"Before the first update every probability ratio must be 1; the largest |log ratio| is {float(loss.max_log_ratio):.2e}. "
                "The policy's act_batch, collate and network must compute the same log-probabilities."
            )
