"""The process that learns: RLlib's torch learner with Flow-GRPO's loss, its own optimizer, and gradients summed over micro batches."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from torch import Tensor

from agentgym.errors import AgentGymError, ContractBroken, InvalidInput
from agentgym.training.flow_grpo.admission import require_admissible_weights, require_same_identity
from agentgym.training.flow_grpo.loss import PolicyLoss, policy_loss
from agentgym.training.flow_grpo.micro_batch import MicroTensors, Shard
from agentgym.training.flow_grpo.module import PolicyModule
from agentgym.training.flow_grpo.together import Together
from agentgym.training.flow_grpo.update import Learned, Step, learned
from agentgym.training.flow_grpo.weights import learning_parameters, replaced

# The sampler and the learner add the same float32 numbers in another order, so ratios are 1 to rounding.
ROUNDING = 1e-3
# bfloat16 keeps 8 bits of a number: a score of 20 is known to 0.08, and cached keys are rounded at other places than a whole pass.
# A single token may be far off, so the bound is on the mean |log ratio|, in nats a decision.
HALF_ROUNDING = 0.05


class FlowGRPOLearner(TorchLearner):
    """Learns from batches that the policy it holds has sampled, and refuses all others.

    Several learners each get whole rollouts, weighed over the whole batch; their gradients are summed, so that together they take the
    step one would take alone.
    """

    def build(self) -> None:
        super().build()
        if self.config.device == "mps":
            # RLlib knows no other device than the processor and CUDA.
            self._device = torch.device("mps")
            self._map_module_to_device(self._module)
        self._together = Together(learners=self.config.num_learners, device=self._device)
        self._recent: deque[str] = deque(maxlen=1 + self.config.max_staleness)
        # The policy that training starts from: this is before any resume point is read.
        is_held = self.config.settings.kl_coefficient > 0
        self._start = (
            {name: values.detach().clone() for name, values in learning_parameters(self.policy_module.network).items()} if is_held else None
        )

    @property
    def policy_module(self) -> PolicyModule:
        return cast(PolicyModule, self.module[DEFAULT_MODULE_ID].unwrapped())

    def set_state(self, state: Mapping[str, Any]) -> None:
        super().set_state(state)
        self._recent.clear()

    def _set_optimizer_state(self, state: Mapping[str, Any]) -> None:
        # What comes through Ray's object store lies in memory that learners on one machine share, and the optimizer writes in place: two
        # learners that resumed advanced each other's moments.
        super()._set_optimizer_state(deepcopy(state))

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = [parameter for parameter in self._module[module_id].parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(parameters, eps=config.settings.adam_epsilon)
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=parameters, lr_or_lr_schedule=config.lr)

    def update(
        self,
        *,
        training_data: TrainingData,
        sampled_by: frozenset[str],
        sampled_with: Sequence[Mapping[str, str]],
        learning_rate: float,
        num_epochs: int,
        **_: Any,
    ) -> Learned | AgentGymError:
        """What was learned, or why nothing was: RLlib ends a learner whose call raises, and the reason would be lost with it.

        training_data: holds the learner's `Shard` as its batch.   sampled_by: digests of the weights that sampled it.   sampled_with: what
        else their log-probabilities rest on.   learning_rate: of this update.
        """
        try:
            self._together.require(lambda: self._require_own(sampled_by, sampled_with))
            for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID):
                self._set_optimizer_lr(optimizer, learning_rate)
            return self._epochs(training_data.batch, num_epochs)
        except AgentGymError as error:
            return error

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: MicroTensors, fwd_out: Mapping[str, Tensor], old: Tensor, reference: Tensor | None
    ) -> PolicyLoss:
        """Flow-GRPO's loss on a micro batch of N decisions.   old, reference: log-probabilities, shape (N,)."""
        return policy_loss(
            fwd_out["log_probability"],
            sampled_log_probability=batch.log_probability,
            old_log_probability=old,
            advantage=batch.advantage,
            weight=batch.weight,
            settings=config.settings,
            reference_log_probability=reference,
            entropy=fwd_out["entropy"],
        )

    def _make_modules_ddp_if_necessary(self) -> None:
        """Not with torch's own wrapper: it averages where we sum, and wants every learner to have a micro batch for each of the others'."""

    def _epochs(self, shard: Shard, num_epochs: int) -> Learned:
        micro_batches = [micro_batch.tensors(self._device) for micro_batch in shard.micro_batches]
        references = self._references(micro_batches)
        olds = [self._old(micro_batch) for micro_batch in micro_batches]
        self._weights_seq_no += 1
        steps: list[Step] = []
        for _ in range(num_epochs):
            steps.append(self._step(micro_batches, olds, references, is_first=not steps))
        return learned(steps)

    def _step(
        self, micro_batches: Sequence[MicroTensors], olds: Sequence[Tensor], references: Sequence[Tensor | None], *, is_first: bool
    ) -> Step:
        """One update on the whole batch, of all learners together."""
        for optimizer in self._optimizer_parameters:
            optimizer.zero_grad(set_to_none=True)
        parts = [self._backward(*given) for given in zip(micro_batches, olds, references, strict=True)]
        gradients = {name: torch.zeros_like(values) if values.grad is None else values.grad for name, values in self._params.items()}
        gradients = self._together.summed_gradients(gradients)
        norm = torch.nn.utils.get_total_norm(list(gradients.values()))
        step = self._together.step(parts, gradient_norm=float(norm))
        self._require_finite(step)
        if is_first:
            self._require_ratio_one(step)
        self.apply_gradients(self.postprocess_gradients(gradients))
        return step

    def _backward(self, micro_batch: MicroTensors, old: Tensor, reference: Tensor | None) -> Step:
        outputs = self.policy_module.decided(micro_batch.evidence)
        loss = self.compute_loss_for_module(
            module_id=DEFAULT_MODULE_ID, config=self.config, batch=micro_batch, fwd_out=outputs, old=old, reference=reference
        )
        loss.total.backward()
        return Step.of(loss, outputs, micro_batch)

    def _old(self, micro_batch: MicroTensors) -> Tensor:
        """Log-probabilities before the first update: as they were sampled, where that was done with the same weights and arithmetic."""
        if self._is_exact:
            return micro_batch.log_probability
        with torch.no_grad():
            return self.policy_module.decided(micro_batch.evidence)["log_probability"]

    def _references(self, micro_batches: Sequence[MicroTensors]) -> list[Tensor | None]:
        """Log-probabilities under the policy that training started from; its parameters are written in for the time it takes."""
        if self._start is None:
            return [None] * len(micro_batches)
        with replaced(self.policy_module.network, self._start), torch.no_grad():
            return [self.policy_module.decided(micro_batch.evidence)["log_probability"] for micro_batch in micro_batches]

    @property
    def _is_exact(self) -> bool:
        """Whether sampler and learner have the same weights and numbers of 32 bits."""
        return bool(self.config.max_staleness == 0 and self.config.precision == "float32")

    def _require_own(self, sampled_by: frozenset[str], sampled_with: Iterable[Mapping[str, str]]) -> None:
        self._recent.append(self.policy_module.digest)
        require_admissible_weights(sampled_by, admissible=self._recent)
        require_same_identity(sampled_with, self.policy_module.policy.identity)

    def _require_finite(self, step: Step) -> None:
        if not (math.isfinite(step.loss) and math.isfinite(step.gradient_norm)):
            raise InvalidInput(
                f"Loss and gradient must stay finite; the loss is {step.loss!r}, the gradient's norm {step.gradient_norm!r}. "
                f"Lower the learning rate ({self.config.lr!r}) or the reward weights; the last checkpoint is still good."
            )

    def _require_ratio_one(self, step: Step) -> None:
        """Before the first step on a batch, the network must give each decision the log-probability the policy sampled it with."""
        if self._is_exact and step.max_log_ratio > ROUNDING:
            raise ContractBroken(
                f"Before the first update every probability ratio must be 1; the largest |log ratio| is {step.max_log_ratio:.2e}. "
                "The policy's act_batch, collate and network must compute the same log-probabilities."
            )
        if self.config.max_staleness == 0 and step.mean_log_ratio > HALF_ROUNDING:
            raise ContractBroken(
                f"Before the first update probability ratios must be 1 to the rounding of {self.config.precision}, {HALF_ROUNDING} nats a "
                f"decision; the mean |log ratio| is {step.mean_log_ratio:.2e}. "
                "The policy's act_batch, collate and network must compute the same log-probabilities."
            )
