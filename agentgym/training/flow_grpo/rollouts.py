"""Playing G rollouts of each case at once: one call to the policy a step for all that are still going on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np

from agentgym.environments.case import Case
from agentgym.episode import Action, Conversation, Decision, TrainablePolicy, Trajectory
from agentgym.errors import ContractBroken, InvalidInput, Unavailable
from agentgym.garbage import rarely_collecting
from agentgym.messages import Message


class PlayableEnvironment(Protocol):
    """A gymnasium environment of conversations that can say how an episode went once it is over."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Conversation, Mapping[str, Any]]: ...

    def step(self, action: Message) -> tuple[Conversation, Any, bool, bool, Mapping[str, Any]]: ...

    def trajectory(self, actions: Sequence[Action]) -> Trajectory: ...


@runtime_checkable
class Hashed(Protocol):
    """An environment that can tell its state: equal hashes, equal futures under equal seeds."""

    def state_hash(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """A case to play as a group: its place among the training cases, and the seed all rollouts of the group share."""

    place: int
    group_id: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """A trajectory that was sampled to learn from.

    group_id: equal for the rollouts of one case.   turn_rewards: of each assistant turn, shape (turns,).
    weights_digest: of the weights that sampled it.   identity: digests of what its log-probabilities rest on besides, by name.
    state_hashes: of the environment before each assistant turn; empty where nobody asked.
    """

    trajectory: Trajectory
    group_id: int
    turn_rewards: tuple[float, ...]
    weights_digest: str
    identity: Mapping[str, str] = field(default_factory=dict)
    state_hashes: tuple[str, ...] = ()

    @property
    def mean_reward(self) -> float:
        """Over its turns: the trajectory's reward itself where that is broadcast to every turn."""
        # Exactly itself: a mean of equal numbers is not always that number, and unequal rounding would pass for a group that varies.
        if len(set(self.turn_rewards)) == 1:
            return self.turn_rewards[0]
        return sum(self.turn_rewards) / len(self.turn_rewards)

    @property
    def decisions(self) -> list[Decision]:
        return [decision for action in self.trajectory.actions for decision in action.decisions]


@dataclass(frozen=True, kw_only=True, slots=True)
class Crash:
    """A rollout that broke off: it is left out of its group, never counted as reward 0."""

    case_id: str
    error: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one round of playing gave: every rollout it was asked for, or its crash."""

    rollouts: tuple[Rollout, ...] = ()
    crashes: tuple[Crash, ...] = ()

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(rollouts=self.rollouts + other.rollouts, crashes=self.crashes + other.crashes)

    def by_group(self) -> "Sample":
        """The same in the order of the groups, whichever process answered first: sums of floats depend on their order."""
        return replace(self, rollouts=tuple(sorted(self.rollouts, key=lambda rollout: rollout.group_id)))

    def require_few_crashes(self, max_share: float) -> None:
        """Raises Unavailable when more than `max_share` of the rollouts broke off: what is left would be a biased choice."""
        played = len(self.rollouts) + len(self.crashes)
        if len(self.crashes) > max_share * played:
            first = self.crashes[0]
            raise Unavailable(
                f"At most {max_share:.0%} of the rollouts may break off; {len(self.crashes)} of {played} did, the first in case "
                f"{first.case_id!r} with {first.error}. Mend the environment, then run again."
            )


@dataclass(frozen=True, kw_only=True)
class Playground:
    """Where rollouts are played: environments of one scenario, its way to spread a reward over turns, and the cases to draw from."""

    create_environment: Callable[[], PlayableEnvironment]
    broadcast_rewards: Callable[[Trajectory], Sequence[float]]
    cases: tuple[Case, ...]

    def __deepcopy__(self, memo: object) -> "Playground":
        """Itself: it is frozen, holds thousands of cases, and RLlib copies its configuration several times."""
        return self


class Player:
    """Plays groups in environments it keeps from round to round."""

    def __init__(self, playground: Playground, *, group_size: int, keeps_state_hashes: bool = False) -> None:
        self.playground = playground
        self.group_size = group_size
        self.keeps_state_hashes = keeps_state_hashes
        self._environments: list[PlayableEnvironment] = []

    @rarely_collecting()
    def play(self, policy: TrainablePolicy, draws: Sequence[Draw], *, weights_digest: str, rng: np.random.Generator | None) -> Sample:
        """`group_size` rollouts of each case drawn. Those of a group share the environment's seed, so that only actions tell them apart."""
        episodes = [
            _Episode(self.playground.cases[draw.place], draw, keeps_state_hashes=self.keeps_state_hashes)
            for draw in draws
            for _ in range(self.group_size)
        ]
        for episode, environment in zip(episodes, self._pool(len(episodes)), strict=True):
            episode.begin(environment)
        while live := [episode for episode in episodes if episode.is_live]:
            actions = policy.act_batch([episode.conversation for episode in live], rng=rng)
            for episode, action in zip(live, actions, strict=True):
                episode.advance(action)
        return Sample(
            rollouts=tuple(self._rollout(episode, weights_digest, policy.identity) for episode in episodes if episode.error is None),
            crashes=tuple(Crash(case_id=episode.case.case_id, error=episode.error) for episode in episodes if episode.error is not None),
        )

    def _rollout(self, episode: "_Episode", weights_digest: str, identity: Mapping[str, str]) -> Rollout:
        trajectory = episode.trajectory
        assert trajectory is not None, "an episode ends with a trajectory or an error"
        rewards = tuple(self.playground.broadcast_rewards(trajectory))
        if len(rewards) != len(trajectory.actions):
            raise ContractBroken(
                f"broadcast_rewards gives one reward for each turn of the agent; case {trajectory.case_id!r} had "
                f"{len(trajectory.actions)} turns and got {len(rewards)} rewards. Count the assistant messages the agent added."
            )
        return Rollout(
            trajectory=trajectory,
            group_id=episode.draw.group_id,
            turn_rewards=rewards,
            weights_digest=weights_digest,
            identity=identity,
            state_hashes=tuple(episode.state_hashes),
        )

    def _pool(self, size: int) -> list[PlayableEnvironment]:
        while len(self._environments) < size:
            self._environments.append(self._created())
        return self._environments[:size]

    def _created(self) -> PlayableEnvironment:
        environment = self.playground.create_environment()
        if self.keeps_state_hashes and not isinstance(environment, Hashed):
            raise InvalidInput(
                "Credit by state compares decisions taken in equal states, so an environment must tell its state; "
                f"{type(environment).__name__} has no state_hash(). Give it one, or choose another credit."
            )
        return environment


class _Episode:
    """One rollout while it is played; over when it has a trajectory or an error."""

    def __init__(self, case: Case, draw: Draw, *, keeps_state_hashes: bool) -> None:
        self.case = case
        self.draw = draw
        self.state_hashes: list[str] = []
        self._keeps_state_hashes = keeps_state_hashes
        self.trajectory: Trajectory | None = None
        self.error: str | None = None
        self.conversation: Conversation
        self._environment: PlayableEnvironment
        self._actions: list[Action] = []

    @property
    def is_live(self) -> bool:
        return self.trajectory is None and self.error is None

    def begin(self, environment: PlayableEnvironment) -> None:
        self._environment = environment
        self._guarded(self._reset)

    def advance(self, action: Action) -> None:
        self._actions.append(action)
        self._guarded(self._step)

    def _reset(self) -> None:
        self.conversation, _ = self._environment.reset(seed=self.draw.seed, options={"case": self.case})

    def _step(self) -> None:
        if self._keeps_state_hashes:
            self.state_hashes.append(cast(Hashed, self._environment).state_hash())
        self.conversation, _, is_terminated, is_truncated, _ = self._environment.step(self._actions[-1].message)
        if is_terminated or is_truncated:
            self.trajectory = self._environment.trajectory(self._actions)

    def _guarded(self, move: Callable[[], None]) -> None:
        """Keeps a crash of one environment, which may be anybody's program, from ending the others; `max_crash_share` bounds how many."""
        try:
            move()
        except ContractBroken:
            raise
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
