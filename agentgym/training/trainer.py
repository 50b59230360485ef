"""The whole of a training run in one call: `Trainer(scenario="customer_support").train()`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal, Self

import torch

from agentgym.errors import InvalidInput
from agentgym.evaluation.play_floors import evaluate_play_floors
from agentgym.policies.checkpoint import Checkpoint, load_trainable_policy
from agentgym.statistics import Estimate
from agentgym.training.auditing import audit_training
from agentgym.training.conclusion import convergence_episode, readiness, readiness_checks
from agentgym.training.config import Method, TrainingConfig
from agentgym.training.diagnosis import findings_of
from agentgym.training.first_policy import first_policy
from agentgym.training.flow_grpo.train import device_of
from agentgym.training.judging import Judged, judge_policy
from agentgym.training.material import TrainingMaterial, gather_material, world_of
from agentgym.training.methods.experience import Experience
from agentgym.training.methods.run import run_method
from agentgym.training.result import IterationMetrics, Trained, TrainingMetrics, TrainingResult
from agentgym.training.resume_point import ResumePoint
from agentgym.training.run_folder import HELD_OUT, LAST_ITERATION, START, TEACHER, RunFolder
from agentgym.training.trained_agent import read_checkpoint
from agentgym.verdicts import EvaluationReport, RewardAudit, Subject

Stage = Literal["conversations", "audit", "imitation", "before", "training", "after"]
Start = Checkpoint | TrainingResult | Path | str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingProgress:
    """How far a run is: `done` of `total` in this stage.

    stage: making conversations, auditing the reward, imitating them, judging the policy before, training it, judging it after.
    metrics: of the iteration that ended just now.
    """

    stage: Stage
    done: int
    total: int
    metrics: IterationMetrics | None = None


OnProgress = Callable[[TrainingProgress], None]


class Trainer:
    """One run.

    It makes conversations of the scenario's agent of today, splits them by customer, has adversaries play for the reward, starts from a
    policy that imitates the conversations, trains it as `config.method` says, judges it on the customers held out, and saves everything in
    a folder of its own. No server is needed.
    """

    def __init__(
        self,
        config: TrainingConfig | None = None,
        *,
        start: Start | None = None,
        teacher: Start | None = None,
        ray_address: str | None = None,
        **fields: Any,
    ) -> None:
        """config: the whole configuration; or its fields by name, above what suits the scenario.

        start: in place of imitation: a checkpoint, a result, or the folder of a run.   teacher: who is distilled; needed by that method.
        ray_address: of a running Ray; None for a local one.
        Raises InvalidInput with every mistake in one message.
        """
        if config is not None and fields:
            raise InvalidInput(f"A trainer gets a config or its fields; got both, with {', '.join(sorted(fields))}. Leave one of them out.")
        scenario = fields.pop("scenario", TrainingConfig.model_fields["scenario"].default)
        self.config = (config or TrainingConfig.suited_to(scenario, **fields)).with_seed_drawn()
        self.device, self.world = device_of(self.config.policy, self.config.gpu), world_of(self.config)
        self.folder: RunFolder | None = None
        self._start = None if start is None else _checkpoint_of(start)
        self._teacher = None if teacher is None else _checkpoint_of(teacher)
        _require_teacher(self.config.method, self._teacher)
        _require_base(self.config, self._start)
        self._ray_address = ray_address

    @classmethod
    def resume(cls, folder: Path | str, *, ray_address: str | None = None) -> Self:
        """The trainer of a run that was interrupted; its `train` goes on from the last checkpoint, in the same folder."""
        interrupted = RunFolder.of_interrupted(Path(folder))
        trainer = cls(interrupted.read_config(), ray_address=ray_address)
        trainer.folder = interrupted
        return trainer

    def train(self, on_progress: OnProgress = lambda _: None) -> TrainingResult:
        """The result, saved in `result.folder`. Interrupted, the folder keeps the last checkpoint.

        Raises Refused before anything is trained when the reward pays an adversary and `config.waive_audit` gives no reason to go on.
        """
        began, now = monotonic(), datetime.now(UTC)
        material = gather_material(self.config)
        on_progress(TrainingProgress(stage="conversations", done=1, total=1))
        on_player = partial(_report_player, on_progress)
        audit = audit_training(material, self.config, on_progress=on_player)
        self.folder = self.folder or RunFolder.create(self.config, now=now)
        started_at = self.folder.write_environment(device=self.device, now=now)
        run = _Run(self.config, self.device, self.folder, material, on_progress)
        start = run.start(self._start)
        trained = run.learn(start, self._teacher, self._ray_address)
        return run.conclude(start, trained, audit, began=began, started_at=started_at)


class _Run:
    """The steps of one run in their order, each leaving its files behind."""

    def __init__(self, config: TrainingConfig, device: str, folder: RunFolder, material: TrainingMaterial, on_progress: OnProgress) -> None:
        self.config, self.device, self.folder, self.material, self.on_progress = config, device, folder, material, on_progress
        self.seconds_before = 0.0
        torch.set_num_threads(config.torch_threads)

    def start(self, given: Checkpoint | None) -> Checkpoint:
        """The policy to begin as: the one an interrupted run began as, the one given, or one that imitates."""
        try:
            start = self.folder.read_checkpoint(START) or given or self._imitated()
            self.folder.write_checkpoint(start, START)
        except BaseException:
            self.folder.remove_unless_begun()
            raise
        return start

    def learn(self, start: Checkpoint, teacher: Checkpoint | None, ray_address: str | None) -> Trained:
        """The policy after `config.method`; what a run that was interrupted had learned is kept."""
        teacher = self.folder.read_checkpoint(TEACHER) or teacher
        if teacher is not None:
            self.folder.write_checkpoint(teacher, TEACHER)
        point = self.folder.read_resume_point()
        earlier = point.curve if point else ()
        self.seconds_before = sum(metrics.seconds for metrics in earlier)
        self.folder.write_curve(earlier)
        trained = run_method(
            start,
            Experience(pack=self.material.pack, traces=self.material.train, teacher=teacher),
            self.config,
            environment=os.environ,
            on_iteration=self._on_iteration,
            resume_point=point,
            on_resume_point=lambda reached: self._keep(start, reached),
            ray_address=ray_address,
        )
        self.folder.write_checkpoint(trained.checkpoint)
        # A run that goes on after its last iteration has played nothing anew.
        if trained.trajectories:
            self.folder.write_trajectories(LAST_ITERATION, trained.trajectories)
        return trained

    def conclude(
        self, start: Checkpoint, trained: Trained, audit: RewardAudit | None, *, began: float, started_at: datetime
    ) -> TrainingResult:
        before, after = self._judged(start, "before"), self._judged(trained.checkpoint, "after")
        self.folder.write_trajectories(HELD_OUT, after.trajectories)
        criteria = dict(self.material.world.success_criteria())
        checks = readiness_checks(after.report, criteria)
        seconds = self.seconds_before + monotonic() - began
        metrics = _metrics(after.report, self.material.logs, trained.curve, method=self.config.method, training_seconds=seconds)
        result = TrainingResult(
            config=self.config,
            metrics=TrainingMetrics.model_validate({**metrics, "deployment_readiness": readiness(checks)}),
            criteria=criteria,
            checks=checks,
            estimates=after.report.estimates,
            start=before.report.estimates,
            findings=tuple(finding.message for finding in findings_of(trained.curve)),
            logs=self.material.logs.estimates,
            floors=self._floors(),
            audit=audit,
            device=self.device,
            checkpoint_digest=trained.checkpoint.digest,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            folder=self.folder.path,
        )
        result.save(self.folder.path)
        self.folder.remove_resume_point()
        return result

    def _imitated(self) -> Checkpoint:
        """A policy that does what today's agent did where it went well."""
        train = self.material.train
        return first_policy(
            train,
            learner=self.config.learner,
            tools=self.material.world.tools,
            seed=self._seed,
            device=self.device,
            training={"imitation": {"conversations": len(train)}},
            on_progress=self._on_imitation,
        )

    def _floors(self) -> dict[str, dict[str, Estimate]]:
        """What players without skill reach on the same held-out cases."""
        world, pack = self.material.world, self.material.pack
        reports = evaluate_play_floors(world, pack.train, pack.held_out, train_digest=pack.snapshot_digest, seed=self._seed)
        return {report.subject.name: report.estimates for report in reports}

    def _judged(self, checkpoint: Checkpoint, stage: Literal["before", "after"]) -> Judged:
        return judge_policy(
            load_trainable_policy(checkpoint, device=self.device),
            self.material.world,
            self.material.pack.held_out,
            subject=Subject(name=stage, checkpoint_digest=checkpoint.digest),
            seed=self._seed,
            on_progress=lambda done, total: self.on_progress(TrainingProgress(stage=stage, done=done, total=total)),
        )

    @property
    def _seed(self) -> int:
        assert self.config.seed is not None, "a trainer draws its seed at once"
        return self.config.seed

    def _on_imitation(self, _: str, share: float) -> None:
        self.on_progress(TrainingProgress(stage="imitation", done=round(100 * share), total=100))

    def _on_iteration(self, metrics: IterationMetrics) -> None:
        self.folder.append_iteration(metrics)
        self.on_progress(TrainingProgress(stage="training", done=metrics.iteration, total=self.config.iterations, metrics=metrics))

    def _keep(self, start: Checkpoint, point: ResumePoint) -> None:
        """Everything an interrupted run goes on from, and the policy as it is then, ready to act."""
        from agentgym.training.flow_grpo.state import WEIGHTS
        from agentgym.training.flow_grpo.weights import write_weights

        policy = load_trainable_policy(start)
        tensors = point.state.tensors
        write_weights(policy.network, {name.removeprefix(WEIGHTS): tensors[name] for name in tensors if name.startswith(WEIGHTS)})
        self.folder.write_checkpoint(start.with_weights_of(policy, training={"iterations": point.state.iteration}))
        self.folder.write_resume_point(point)


def _report_player(on_progress: OnProgress, done: int, total: int) -> None:
    on_progress(TrainingProgress(stage="audit", done=done, total=total))


def _metrics(
    report: EvaluationReport,
    logs: EvaluationReport,
    curve: Sequence[IterationMetrics],
    *,
    method: Method,
    training_seconds: float,
) -> dict[str, float | int | None]:
    means = {name: estimate.mean for name, estimate in report.estimates.items()}
    # The other methods learn from recorded conversations, or from a teacher's, and play only to show what they do.
    is_played = method in ("flow_grpo", "rft")
    episodes = sum(metrics.rollouts for metrics in curve) if is_played else None
    seconds = sum(metrics.seconds for metrics in curve)
    return {
        "tool_reliability": means["tool_reliability"],
        "success_rate": means["success_rate"],
        "final_reward": means["reward"],
        "average_tokens": means["agent_tokens"],
        "cost_reduction": means["cost_reduction"],
        "cost_reduction_against_logs": 1 - means["agent_tokens"] / logs.estimates["agent_tokens"].mean,
        "average_response_seconds": means["simulated_seconds"],
        "time_saving": means["time_saving"],
        "episodes_completed": episodes,
        "training_seconds": training_seconds,
        "cost_per_episode": seconds / episodes if episodes else None,
        "convergence_episode": convergence_episode(curve),
    }


def _require_teacher(method: Method, teacher: Checkpoint | None) -> None:
    if (method == "distill") != (teacher is not None):
        has = "there is none" if teacher is None else f"the method is {method!r}"
        raise InvalidInput(f"A teacher is for method 'distill', which needs one; {has}. Give both or neither.")


def _require_base(config: TrainingConfig, start: Checkpoint | None) -> None:
    """A policy that is trained further keeps its base."""
    if start is None:
        return
    base = start.manifest.configuration.get("base")
    if base is not None and base != config.base_model:
        raise InvalidInput(
            f"Training goes on with the base a policy has; it is {base!r}, and {config.base_model!r} was asked for. "
            f"Set policy to {start.manifest.policy!r} and base_model to {base!r}."
        )


def _checkpoint_of(start: Start) -> Checkpoint:
    if isinstance(start, Checkpoint):
        return start
    if isinstance(start, TrainingResult):
        if start.folder is None:
            raise InvalidInput("A run starts from a result that was saved; this one has no folder. Load it with TrainingResult.load.")
        return read_checkpoint(start.folder)
    return read_checkpoint(Path(start))
