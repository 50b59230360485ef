"""Flow-GRPO as an RLlib algorithm: on-policy, group-relative, over the decisions of whole conversations."""

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any, Self, cast

import numpy as np
from ray.exceptions import RayError
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from agentgym.episode import TrainablePolicy, Trajectory
from agentgym.errors import AgentGymError, InvalidInput, Unavailable
from agentgym.reward import trajectory_metrics
from agentgym.training.flow_grpo.batch import LearningBatch, learning_batch, varied_groups, zero_variance_share
from agentgym.training.flow_grpo.curriculum import Curriculum
from agentgym.training.flow_grpo.env_runner import NO_SPACE, GroupEnvRunner
from agentgym.training.flow_grpo.learner import FlowGRPOLearner
from agentgym.training.flow_grpo.micro_batch import shards
from agentgym.training.flow_grpo.module import PolicyModule
from agentgym.training.flow_grpo.rollouts import Draw, Playground, Rollout, Sample
from agentgym.training.flow_grpo.runners import Order, Runners
from agentgym.training.flow_grpo.schedule import learning_rate
from agentgym.training.flow_grpo.settings import FlowGRPOSettings
from agentgym.training.flow_grpo.state import learner_state, training_state
from agentgym.training.flow_grpo.update import Learned
from agentgym.training.resume_point import TrainingState

METRICS = "flow_grpo"


class FlowGRPOConfig(AlgorithmConfig):
    """RLlib's configuration, set up for Flow-GRPO; `training(create_policy=…, playground=…)` must be called before it is built."""

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or FlowGRPO)
        self.environment(observation_space=NO_SPACE, action_space=NO_SPACE, normalize_actions=False, clip_actions=False)
        self.env_runner_cls = GroupEnvRunner
        self.add_default_connectors_to_env_to_module_pipeline = False
        self.add_default_connectors_to_module_to_env_pipeline = False
        self.add_default_connectors_to_learner_pipeline = False
        self.create_policy: Callable[[], TrainablePolicy] | None = None
        self.playground: Playground | None = None
        self.iterations: int | None = None
        self.batch_size = 1
        self.trains: Collection[str] | None = None
        # Conversations never pass through RLlib's connectors: there is no state of theirs to gather after every iteration.
        self._dont_auto_sync_env_runner_states = True
        self.computing()
        self.training(settings=FlowGRPOSettings())
        self.env_runners(num_env_runners=0)

    def training(
        self,
        *,
        create_policy: Callable[[], TrainablePolicy] | None = None,
        playground: Playground | None = None,
        settings: FlowGRPOSettings | None = None,
        iterations: int | None = None,
        batch_size: int | None = None,
        trains: Collection[str] | None = None,
        **rllib: Any,
    ) -> Self:
        """Sets what is given; RLlib's own `lr` is the highest learning rate, its `gamma` the discount of turn-level credit.

        create_policy: makes the policy to start from; it is pickled to every process that plays or learns.
        iterations: how many there will be, for the learning rate to climb and fall in; without them it stays.
        batch_size: cases an iteration plays.   trains: the components of the policy that learn; without them all do.
        """
        super().training(**rllib)
        self.create_policy = create_policy or self.create_policy
        self.playground = playground or self.playground
        self.iterations = iterations or self.iterations
        self.batch_size = batch_size or self.batch_size
        self.trains = trains or self.trains
        if settings is not None:
            self.settings = settings
            super().training(
                num_epochs=settings.epochs,
                grad_clip=settings.gradient_norm_limit,
                grad_clip_by="global_norm",
            )
        return self

    def computing(
        self, *, device: str = "cpu", precision: str = "float32", max_decisions: int | None = None, max_staleness: int = 0
    ) -> Self:
        """How updates are computed.

        device: "cpu", "cuda" or "mps", of learners and of a runner in their process.   precision: of the policy's log-probabilities,
        "float32" or "bfloat16".   max_decisions: one forward pass of a learner holds at once; None for all.   max_staleness: updates by
        which the weights that sample may be older than those that learn; 0 samples with the newest, and waits for them.
        """
        self.device, self.precision, self.max_decisions, self.max_staleness = device, precision, max_decisions, max_staleness
        return self.learners(num_gpus_per_learner=1 if device == "cuda" else 0)

    def build_flow_grpo(self) -> "FlowGRPO":
        """Raises InvalidInput where rollouts shall be played ahead and nobody can."""
        if self.max_staleness > 0 and self.num_env_runners == 0:
            raise InvalidInput(
                f"Rollouts can only be played ahead by processes of their own; max_staleness is {self.max_staleness!r} and num_env_runners "
                "0. Ask for a runner, or for max_staleness 0."
            )
        return cast(FlowGRPO, self.build_algo())

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return RLModuleSpec(module_class=PolicyModule, observation_space=NO_SPACE, action_space=NO_SPACE)

    def get_default_learner_class(self) -> type[FlowGRPOLearner]:
        return FlowGRPOLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return super()._model_config_auto_includes | {"create_policy": self.create_policy}


class FlowGRPO(Algorithm):
    """Plays groups of rollouts, compares the rollouts of each group, and raises the probability of what the better ones decided.

    latest: metrics of the last iteration, by the names of `IterationMetrics`; RLlib's result has them under "flow_grpo".
    played: the trajectories of the last iteration.
    """

    latest: Mapping[str, float]
    played: tuple[Trajectory, ...] = ()

    @classmethod
    def get_default_config(cls) -> FlowGRPOConfig:
        return FlowGRPOConfig()

    def setup(self, config: AlgorithmConfig) -> None:
        super().setup(config)
        self.curriculum = Curriculum(config.playground.cases, settles_after=config.settings.settles_after)
        self.runners = Runners(self.env_runner_group, sync=self._sync) if config.num_env_runners > 0 else None
        self._ahead: deque[_Play] = deque()

    def training_step(self) -> None:
        began = perf_counter()
        sample = self._play()
        settings = self.config.settings
        sample.require_few_crashes(settings.max_crash_share)
        played = perf_counter()
        batch = learning_batch(sample.rollouts, settings, discount=self.config.gamma, trains=self.config.trains)
        learning = asdict(self._learn(batch, sample.rollouts)) if batch is not None else {}
        self.curriculum.learn(sample.rollouts)
        self.played = tuple(rollout.trajectory for rollout in sample.rollouts)
        learned = perf_counter()
        self._sync()
        seconds = {"sampling_seconds": played - began, "learning_seconds": learned - played, "syncing_seconds": perf_counter() - learned}
        curriculum = {"settled_share": self.curriculum.settled_share, "mastery": self.curriculum.mastery}
        self.latest = {**_sample_metrics(sample, batch, settings), **curriculum, **learning, **seconds}
        self.metrics.log_dict(self.latest, key=METRICS, window=1)

    def iterate(self) -> Mapping[str, float]:
        """One iteration, and what it measured."""
        self.train()
        return self.latest

    def close(self) -> None:
        self.stop()

    @property
    def policy(self) -> TrainablePolicy:
        """The policy with the weights as they are now."""
        return cast(PolicyModule, self.get_module()).policy

    def state_to_resume(self) -> TrainingState:
        """Everything a fresh algorithm of the same configuration needs to go on as this one would."""
        return training_state(
            self.learner_group.get_state(), iteration=self.iteration, unsolved=self.curriculum.unsolved, streaks=self.curriculum.streaks
        )

    def resume(self, state: TrainingState) -> None:
        """Goes on from `state`, to the same numbers as a run that was never interrupted."""
        self.learner_group.set_state(learner_state(self.learner_group.get_state(), state))
        self.curriculum.restore(state.unsolved, state.streaks)
        self._iteration = state.iteration
        self._sync()

    def _setup_logdir(self) -> None:
        """Only inside Tune: nothing is written there, and RLlib would leave an empty folder in the user's home for each run."""
        if self._storage is not None:
            super()._setup_logdir()

    def _play(self) -> Sample:
        """As many groups as configured; more, at most `max_refills` times, in place of those whose rewards are all equal."""
        settings = self.config.settings
        play = self._next_play()
        sample, drawn = self._collected(play), self.config.batch_size
        for attempt in range(1, 1 + settings.max_refills):
            missing = self.config.batch_size - varied_groups(sample.rollouts, settings)
            if missing <= 0:
                break
            draws = self.curriculum.draw(missing, first_group_id=drawn, rng=play.rng)
            sample += self._collected(self._sent(play.iteration, draws, attempt, play.rng))
            drawn += missing
        return sample

    def _next_play(self) -> "_Play":
        """The groups of this iteration; those of the next ones are sent out first, as far ahead as rollouts may be stale."""
        while len(self._ahead) <= self.config.max_staleness and not (self._ahead and self._is_last(self._ahead[-1].iteration)):
            iteration = self.iteration + len(self._ahead)
            rng = np.random.default_rng([self.config.seed or 0, iteration])
            draws = self.curriculum.draw(self.config.batch_size, first_group_id=0, rng=rng)
            self._ahead.append(self._sent(iteration, draws, 0, rng))
        return self._ahead.popleft()

    def _is_last(self, iteration: int) -> bool:
        return self.config.iterations is not None and iteration + 1 >= self.config.iterations

    def _sent(self, iteration: int, draws: Sequence[Draw], attempt: int, rng: np.random.Generator) -> "_Play":
        """Groups that the runners, where there are any, have begun to play."""
        seed = (self.config.seed or 0, iteration, attempt)
        order = Order(f"iteration {iteration}, attempt {attempt}", draws, seed=seed, shares=max(1, self.config.num_env_runners))
        if self.runners is not None:
            self.runners.send(order)
        return _Play(iteration=iteration, draws=draws, seed=seed, order=order, rng=rng)

    def _collected(self, play: "_Play") -> Sample:
        if self.runners is not None:
            return self.runners.collect(play.order)
        runner = cast(GroupEnvRunner, self.env_runner_group.local_env_runner)
        return runner.sample(draws=play.draws, seed=(*play.seed, 0))

    def _learn(self, batch: LearningBatch, rollouts: Sequence[Rollout]) -> Learned:
        """Updates the learners, all of which take the same step; what the first of them measured."""
        learners = self.config.num_learners
        made = shards(batch, self.policy, learners=learners, max_decisions=self.config.max_decisions)
        try:
            answers = self.learner_group.update(
                **({"batches": made} if learners > 0 else {"batch": made[0]}),
                num_epochs=self.config.num_epochs,
                sampled_by=batch.sampled_by,
                sampled_with=_identities(rollouts),
                learning_rate=learning_rate(self.config.lr, self.config.settings, self.iteration, self.config.iterations),
            )
        except RayError as error:
            raise Unavailable(
                f"A process that learns must live through an update; one ended with {type(error).__name__}. Look for what ended it, most "
                "often memory, and run again: a job goes on from its last resume point."
            ) from error
        for answer in answers:
            if isinstance(answer, AgentGymError):
                raise answer
        return cast(Learned, answers[0])

    def _sync(self, workers: list[int] | None = None) -> None:
        """Sends the newest weights to these workers, None for all; each takes them before what it is asked next."""
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, to_worker_indices=workers, timeout_seconds=None, inference_only=True
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Play:
    """Groups of one iteration on their way.   rng: draws the groups that replace some of them."""

    iteration: int
    draws: Sequence[Draw]
    seed: tuple[int, ...]
    order: Order
    rng: np.random.Generator


def _identities(rollouts: Sequence[Rollout]) -> list[Mapping[str, str]]:
    """What the rollouts' log-probabilities rest on besides weights, each combination once."""
    return [dict(identity) for identity in {tuple(sorted(rollout.identity.items())) for rollout in rollouts}]


def _sample_metrics(sample: Sample, batch: LearningBatch | None, settings: FlowGRPOSettings) -> dict[str, float]:
    played = trajectory_metrics([rollout.trajectory for rollout in sample.rollouts])
    return {
        **{name: played[name] for name in ("reward", "tool_reliability", "success_rate", "agent_tokens", "simulated_seconds")},
        "zero_variance_share": zero_variance_share(sample.rollouts, settings),
        "rollouts": len(sample.rollouts),
        "crashes": len(sample.crashes),
        "decisions": 0 if batch is None else len(batch.decisions),
        "decisions_per_rollout": float(np.mean([len(rollout.decisions) for rollout in sample.rollouts])),
    }
