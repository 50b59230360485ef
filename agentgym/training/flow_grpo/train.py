"""Trains a policy on-policy: from a checkpoint and a scenario's training cases to a better checkpoint."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import torch

from agentgym.devices import Device, choose_device
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.scenarios.from_traces import scenario_of
from agentgym.scenarios.pack import ScenarioPack
from agentgym.training.config import TrainingConfig
from agentgym.training.diagnosis import require_finite, require_health
from agentgym.training.result import IterationMetrics, Trained
from agentgym.training.resume_point import ResumePoint

if TYPE_CHECKING:
    from agentgym.training.flow_grpo.algorithm import FlowGRPO

PLANNER = "planner"

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
    resume_every: int | None = None,
    ray_address: str | None = None,
) -> Trained:
    """The policy of `checkpoint`, trained with Flow-GRPO on the training cases of `pack`, and its curve.

    resume_point: what an interrupted run of the same arguments left behind; the result is that of a run never interrupted, to the bit
    where nothing was played ahead.   on_resume_point: gets one every `resume_every` iterations, none where that is 0; None for every
    `config.checkpoint_interval`.   ray_address: of a running Ray; None starts a local one, unless this process is connected already.
    Raises InsufficientData without training cases; InvalidInput for a device that is not here, or when the run has collapsed or its loss
    stops being finite, with the last resume point still good.
    """
    if not pack.train:
        raise InsufficientData(f"Training needs cases to play; the pack of {pack.scenario!r} has 0. Bring traces that make some.")
    config.require_fit(scenario=pack.scenario, policy=checkpoint.manifest.policy)
    from agentgym.training.flow_grpo.ray_session import ray_session

    torch.set_num_threads(config.torch_threads)
    cpus = config.num_env_runners + config.num_learners
    with ray_session(cpus=cpus, address=ray_address), closing(_algorithm(pack, checkpoint, config)) as algorithm:
        interval = config.checkpoint_interval if resume_every is None else resume_every
        curve = _train(algorithm, config, resume_point, on_iteration, on_resume_point, interval)
        trained = checkpoint.with_weights_of(algorithm.policy, training={"flow_grpo": config.as_record()}, lineage={"pack": pack.digest})
        return Trained(checkpoint=trained, curve=curve, trajectories=algorithm.played)


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
        batch_size=config.cases_per_iteration,
        lr=config.learning_rate,
        gamma=config.discount_factor,
        trains=scenario.define_trainable_components(),
    )
    flow_grpo.env_runners(num_env_runners=config.num_env_runners).learners(num_learners=config.num_learners).debugging(seed=config.seed)
    return flow_grpo.computing(
        device=device_of(checkpoint.manifest.policy, config.gpu),
        precision=str(checkpoint.manifest.configuration.get("precision", "float32")),
        max_decisions=config.max_decisions_per_pass,
        max_staleness=config.max_staleness,
    ).build_flow_grpo()


def device_of(policy: str, asked: str) -> Device:
    """Where a policy of this kind learns. Raises InvalidInput for a device that is not here, or of no use to the policy."""
    if policy != PLANNER:
        return choose_device(asked)
    if asked in ("cuda", "mps"):
        raise InvalidInput(f"A planner learns on the processor, where its small networks are fastest; {asked!r} was asked for. Use 'auto'.")
    return choose_device("cpu")


def _train(
    algorithm: "FlowGRPO",
    config: TrainingConfig,
    resume_point: ResumePoint | None,
    on_iteration: OnIteration,
    on_resume_point: OnResumePoint,
    resume_every: int,
) -> tuple[IterationMetrics, ...]:
    curve: list[IterationMetrics] = []
    if resume_point is not None:
        algorithm.resume(resume_point.state)
        curve.extend(resume_point.curve)
    began = monotonic()
    while len(curve) < config.iterations and not _is_late(began, config.time_limit_seconds):
        measured = algorithm.iterate()
        require_finite(measured)
        curve.append(IterationMetrics.model_validate({"iteration": len(curve) + 1, **measured}))
        on_iteration(curve[-1])
        # Before the resume point: the last good one is not written over with a state that has collapsed.
        require_health(curve)
        if resume_every and len(curve) % resume_every == 0:
            on_resume_point(ResumePoint(state=algorithm.state_to_resume(), curve=tuple(curve)))
    return tuple(curve)


def _is_late(began: float, time_limit_seconds: float | None) -> bool:
    return time_limit_seconds is not None and monotonic() - began > time_limit_seconds
