"""A trainable policy as RLlib sees it."""

from collections.abc import Mapping
from typing import Any

from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from torch import Tensor

from agentgym.episode import TrainablePolicy
from agentgym.training.flow_grpo.weights import Weights, read_weights, weights_digest, write_weights


class PolicyModule(TorchRLModule):
    """Holds the policy.

    model_config: `create_policy`, a callable without arguments that can be pickled. State is the learning parameters only, so that a sync
    sends no more than what changed. The policy acts by itself (`policy.act_batch`); the learner asks `decided`.
    """

    policy: TrainablePolicy

    def setup(self) -> None:
        self.policy = self.model_config["create_policy"]()
        self.network = self.policy.network

    def decided(self, evidence: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """log_probability and entropy of the N decisions that were collated into `evidence`, each shape (N,)."""
        return dict(self.network(evidence))

    def _forward_train(self, batch: Mapping[str, Tensor], **_: object) -> dict[str, Tensor]:
        return self.decided(batch)

    def get_state(self, *_: object, **__: object) -> Weights:
        return read_weights(self.network)

    def set_state(self, state: Mapping[str, Any]) -> None:
        write_weights(self.network, state)

    @property
    def digest(self) -> str:
        """Of the weights it holds now."""
        return weights_digest(self.network)
