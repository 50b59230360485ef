"""A scenario: a world with its tools, rules, simulated user, reward and success criteria."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal

from agentgym.environments.conversation import ConversationEnv
from agentgym.episode import Policy, Trajectory
from agentgym.reward import RewardWeights, trajectory_metrics
from agentgym.tools import Tool

Difficulty = Literal["easy", "medium", "hard"]


class Scenario(ABC):
    """A world an agent can be trained in; a case is one situation inside it."""

    name: str
    description: str
    difficulty: Difficulty

    @property
    @abstractmethod
    def tools(self) -> tuple[Tool, ...]:
        """Every tool of the world."""

    @abstractmethod
    def create_environment(self, *, reward: RewardWeights | None = None) -> ConversationEnv:
        """A fresh environment; `reset(options={"case": case})` chooses what is played. `reward`: other weights than the scenario's own."""

    @abstractmethod
    def broadcast_rewards(self, trajectory: Trajectory) -> list[float]:
        """The reward of each assistant turn of the trajectory, shape (turns,)."""

    @abstractmethod
    def success_criteria(self) -> Mapping[str, float]:
        """Thresholds by metric, each a proportion in 0–1, that make a policy ready."""

    def honest_agent(self) -> Policy | None:
        """Who does what each case asks for, or did so in its record: what a reward must pay more than any shortcut. None: nobody known."""
        return None

    def define_trainable_components(self) -> tuple[str, ...]:
        """Names of the decisions that learn."""
        return ("act", "argument")

    def calculate_metrics(self, trajectories: Sequence[Trajectory]) -> Mapping[str, float]:
        """Plain means over trajectories, without intervals; raises InsufficientData on none."""
        return trajectory_metrics(trajectories)

    def validate_trajectory(self, trajectory: Trajectory) -> list[str]:
        """What is wrong with a trajectory as a record of this scenario, one sentence each; empty when nothing is."""
        known = {tool.name for tool in self.tools}
        unknown = sorted({judged.call.name for judged in trajectory.calls if judged.is_correct} - known)
        return [f"{name!r} is judged correct, but {self.name} has no such tool." for name in unknown]

    def __str__(self) -> str:
        return f"{self.name} ({self.difficulty}): {self.description}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, difficulty={self.difficulty!r})"
