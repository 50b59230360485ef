"""Trains a policy on-policy: from a checkpoint and a scenario's training cases to a better checkpoint."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import torch

from agentgym.errors import InsufficientData
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.scenarios.from_traces import scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.training.config import TrainingConfig
from agentgym.training.result import IterationMetrics, TrainingResult
from agentgym.training.resume_point import ResumePoint

if TYPE_CHECKING:
    from agentgym.training.flow_grpo.algorithm import FlowGRPO

OnIteration = Callable[[IterationMetrics], None]
OnResumePoint = Callable[[ResumePoint], None]


def train_policy(
    pack: ScenarioPack,
    checkpoint: Checkpoint,
    config: TrainingConfig,
    *,
    on_iteration: OnIteration = lambda _: None,
    resume_point: ResumePoint | None = None,
    on_resume_point: OnResumePoint = lambda _: None,
    ray_address: str | None = None,
) -> TrainingResult:
    """The policy of `checkpoint`, trained with Flow-GRPO on the training cases of `pack`, and its curve.

    resume_point: what an interrupted run of the same arguments left behind; the result is that of a run never interrupted.
    on_resume_point: gets one every `config.save_every` iterations.   ray_address: of a running Ray; None starts a local one, unless this
    process is connected already.
    Raises InsufficientData without training cases; InvalidInput when the loss stops being finite, with the last resume point still good.
    """
    if not pack.train:
        raise InsufficientData(f"Training needs cases to play; the pack of {pack.scenario!r} has 0. Bring traces that make some.")
    from agentgym.training.flow_grpo.ray_session import ray_session

    torch.set_num_threads(config.torch_threads)
    with ray_session(cpus=config.num_env_runners, address=ray_address), closing(_algorithm(pack, checkpoint, config)) as algorithm:
        curve = _train(algorithm, config, resume_point, on_iteration, on_resume_point)
        trained = checkpoint.with_weights_of(
            algorithm.policy, training={"flow_grpo": config.model_dump(mode="json")}, lineage={"pack": pack.digest}
        )
        return TrainingResult(checkpoint=trained, curve=curve)


def _algorithm(pack: ScenarioPack, checkpoint: Checkpoint, config: TrainingConfig) -> "FlowGRPO":
    # Importing RLlib takes seconds; whoever only reads a configuration or a result does not need it.
    from agentgym.training.flow_grpo.algorithm import FlowGRPOConfig
    from agentgym.training.flow_grpo.rollouts import Playground

    scenario = scenario_of(pack)
    playground = Playground(
        create_environment=partial(scenario.create_environment, reward=config.reward),
        broadcast_rewards=scenario.broadcast_rewards,
        cases=pack.train,
    )
    flow_grpo = FlowGRPOConfig().training(
        create_policy=partial(load_trainable_policy, checkpoint),
        playground=playground,
        settings=config.flow_grpo,
        iterations=config.iterations,
    )
    return flow_grpo.env_runners(num_env_runners=config.num_env_runners).debugging(seed=config.seed).build_flow_grpo()


def _train(
    algorithm: "FlowGRPO",
    config: TrainingConfig,
    resume_point: ResumePoint | None,
    on_iteration: OnIteration,
    on_resume_point: OnResumePoint,
) -> tuple[IterationMetrics, ...]:
    curve: list[IterationMetrics] = []
    if resume_point is not None:
        algorithm.resume(resume_point.state)
        curve.extend(resume_point.curve)
    began = monotonic()
    while len(curve) < config.iterations and not _is_late(began, config.time_limit_seconds):
        curve.append(IterationMetrics.model_validate({"iteration": len(curve) + 1, **algorithm.iterate()}))
        on_iteration(curve[-1])
        if len(curve) % config.save_every == 0:
            on_resume_point(ResumePoint(state=algorithm.state_to_resume(), curve=tuple(curve)))
    return tuple(curve)


def _is_late(began: float, time_limit_seconds: float | None) -> bool:
    return time_limit_seconds is not None and monotonic() - began > time_limit_seconds
