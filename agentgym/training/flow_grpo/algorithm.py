"""Flow-GRPO as an RLlib algorithm: on-policy, group-relative, over the decisions of whole conversations."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Self, cast

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from agentgym.episode import TrainablePolicy
from agentgym.reward import trajectory_metrics
from agentgym.training.config import FlowGRPOSettings
from agentgym.training.flow_grpo.batch import LearningBatch, learning_batch, zero_variance_share
from agentgym.training.flow_grpo.curriculum import Curriculum
from agentgym.training.flow_grpo.env_runner import NO_SPACE, GroupEnvRunner
from agentgym.training.flow_grpo.learner import FlowGRPOLearner
from agentgym.training.flow_grpo.module import EVIDENCE, PolicyModule
from agentgym.training.flow_grpo.rollouts import Draw, Playground, Sample
from agentgym.training.flow_grpo.schedule import learning_rate
from agentgym.training.flow_grpo.state import learner_state, training_state
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
        self.training(settings=FlowGRPOSettings())
        self.env_runners(num_env_runners=0)

    def training(
        self,
        *,
        create_policy: Callable[[], TrainablePolicy] | None = None,
        playground: Playground | None = None,
        settings: FlowGRPOSettings | None = None,
        iterations: int | None = None,
        **rllib: Any,
    ) -> Self:
        """Sets what is given.

        create_policy: makes the policy to start from; it is pickled to every process that plays or learns.
        iterations: how many there will be, for the learning rate to climb and fall in; without them it stays.
        """
        super().training(**rllib)
        self.create_policy = create_policy or self.create_policy
        self.playground = playground or self.playground
        self.iterations = iterations or self.iterations
        if settings is not None:
            self.settings = settings
            super().training(
                lr=settings.learning_rate,
                num_epochs=settings.epochs,
                grad_clip=settings.gradient_norm_limit,
                grad_clip_by="global_norm",
            )
        return self

    def build_flow_grpo(self) -> "FlowGRPO":
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
    """

    latest: Mapping[str, float]

    @classmethod
    def get_default_config(cls) -> FlowGRPOConfig:
        return FlowGRPOConfig()

    def setup(self, config: AlgorithmConfig) -> None:
        super().setup(config)
        self.curriculum = Curriculum(config.playground.cases)
        self.reference = copy.deepcopy(self.policy.network).requires_grad_(False) if config.settings.kl_coefficient > 0 else None

    def training_step(self) -> None:
        began = perf_counter()
        sample = self._play()
        settings = self.config.settings
        sample.require_few_crashes(settings.max_crash_share)
        played = perf_counter()
        batch = learning_batch(sample.rollouts, credit=settings.credit, masks_truncated=settings.masks_truncated)
        learning = self._learn(batch) if batch is not None else {}
        self.curriculum.learn(sample.rollouts)
        learned = perf_counter()
        self._sync()
        seconds = {"sampling_seconds": played - began, "learning_seconds": learned - played, "syncing_seconds": perf_counter() - learned}
        self.latest = {**_sample_metrics(sample, batch), **learning, **seconds}
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
        return training_state(self.learner_group.get_state(), iteration=self.iteration, unsolved=self.curriculum.unsolved)

    def resume(self, state: TrainingState) -> None:
        """Goes on from `state`, to the same numbers as a run that was never interrupted."""
        self.learner_group.set_state(learner_state(self.learner_group.get_state(), state))
        self.curriculum.restore(state.unsolved)
        self._iteration = state.iteration
        self._sync()

    def _setup_logdir(self) -> None:
        """Only inside Tune: nothing is written there, and RLlib would leave an empty folder in the user's home for each run."""
        if self._storage is not None:
            super()._setup_logdir()

    def _play(self) -> Sample:
        """As many groups as configured; more, at most `max_refills` times, in place of those whose rewards are all equal."""
        settings, sample, drawn = self.config.settings, Sample(), 0
        rng = np.random.default_rng([self.config.seed or 0, self.iteration])
        for attempt in range(1 + settings.max_refills):
            missing = settings.cases_per_iteration - sample.varied_groups
            if missing <= 0:
                break
            sample += self._play_groups(self.curriculum.draw(missing, first_group_id=drawn, rng=rng), attempt)
            drawn += missing
        return sample

    def _play_groups(self, draws: Sequence[Draw], attempt: int) -> Sample:
        """Plays the groups in this process where it has no others, else a share of them in each runner."""
        runners, seed = self.env_runner_group, (self.config.seed or 0, self.iteration, attempt)
        workers = runners.healthy_worker_ids()
        if not workers:
            return _sample(cast(GroupEnvRunner, runners.local_env_runner), draws=draws, seed=(*seed, 0))
        calls = [partial(_sample, draws=draws[place :: len(workers)], seed=(*seed, worker)) for place, worker in enumerate(workers)]
        played = sum(runners.foreach_env_runner(calls, local_env_runner=False, remote_worker_ids=workers), Sample())
        return played.by_group()

    def _learn(self, batch: LearningBatch) -> dict[str, float]:
        """Updates the learner; its metrics. RLlib slices columns by their first dimension: here it is 1, as the evidence is ragged."""
        evidence = self.policy.collate(batch.decisions)
        columns = {EVIDENCE + name: values for name, values in evidence.items()}
        columns |= {
            "log_probability": batch.log_probabilities.astype(np.float32),
            "advantage": batch.advantages.astype(np.float32),
            "weight": batch.weights.astype(np.float32),
        }
        if self.reference is not None:
            columns["reference_log_probability"] = _log_probability(self.reference, evidence)
        packed = SampleBatch({name: values[np.newaxis] for name, values in columns.items()})
        results = self.learner_group.update(
            batch=MultiAgentBatch({DEFAULT_MODULE_ID: packed}, env_steps=1),
            num_epochs=self.config.num_epochs,
            minibatch_size=1,
            sampled_by=batch.sampled_by,
            learning_rate=learning_rate(self.config.settings, self.iteration, self.config.iterations),
        )
        return _learning_metrics(results[0][DEFAULT_MODULE_ID])

    def _sync(self) -> None:
        # Without a timeout: RLlib's default returns before the weights have arrived, and the next sample would not be on-policy.
        self.env_runner_group.sync_weights(from_worker_or_learner_group=self.learner_group, timeout_seconds=None, inference_only=True)


def _sample(runner: GroupEnvRunner, *, draws: Sequence[Draw], seed: Sequence[int]) -> Sample:
    return runner.sample(draws=draws, seed=seed)


def _log_probability(network: torch.nn.Module, evidence: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of each decision under a network that does not learn, shape (N,)."""
    with torch.no_grad():
        outputs = network({name: torch.from_numpy(values) for name, values in evidence.items()})
    return cast(np.ndarray, outputs["log_probability"].numpy())


def _sample_metrics(sample: Sample, batch: LearningBatch | None) -> dict[str, float]:
    played = trajectory_metrics([rollout.trajectory for rollout in sample.rollouts])
    return {
        **{name: played[name] for name in ("reward", "tool_reliability", "success_rate")},
        "zero_variance_share": zero_variance_share(sample.rollouts),
        "rollouts": len(sample.rollouts),
        "crashes": len(sample.crashes),
        "decisions": 0 if batch is None else len(batch.decisions),
    }


def _learning_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(results[name].peek()) for name in ("entropy", "kl", "clip_share", "max_log_ratio")}
