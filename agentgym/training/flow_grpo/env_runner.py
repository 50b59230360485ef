"""The process that plays: RLlib's environment runner, with whole groups of rollouts in place of a fixed set of vector slots."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

import gymnasium
import numpy as np
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from agentgym.training.flow_grpo.module import PolicyModule
from agentgym.training.flow_grpo.rollouts import Draw, Player, Sample

# RLlib wants spaces to build networks from; a policy brings its own network, and conversations never pass through RLlib.
NO_SPACE = gymnasium.spaces.Dict()


class GroupSpaces:
    """What RLlib reads of a vector environment."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.observation_space = self.single_observation_space = NO_SPACE
        self.action_space = self.single_action_space = NO_SPACE

    @property
    def unwrapped(self) -> "GroupSpaces":
        return self

    def close(self) -> None:
        """Nothing to close: the environments belong to the player."""


class GroupEnvRunner(SingleAgentEnvRunner):
    """Samples groups of whole rollouts.

    RLlib's own vector runner resets a slot as soon as its episode ends and returns the first episodes that finish: it tears groups apart,
    favours short episodes and acts on slots nobody waits for. Here a finished rollout leaves the batch, and every rollout is returned.
    born: tells a process from the one that Ray starts in its place when it dies, which has the weights that training began with.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.born = uuid4().hex
        if self.worker_index == 0 and self.config.num_env_runners == 0:
            # It plays in the process that learns; RLlib would leave it on the processor.
            self.module.to(self.config.device)

    def make_env(self) -> None:
        settings = self.config.settings
        self.env = GroupSpaces(settings.group_size)
        self.num_envs = self.env.num_envs
        self.player = Player(self.config.playground, group_size=settings.group_size, keeps_state_hashes=settings.needs_state_hashes)

    def sample(self, *, draws: Sequence[Draw] = (), seed: Sequence[int] = (0,), **_: Any) -> Sample:
        """The groups drawn for this runner; equal weights, draws and seed give equal rollouts."""
        module = cast(PolicyModule, self.module)
        return self.player.play(module.policy, draws, weights_digest=module.digest, rng=np.random.default_rng(seed))
