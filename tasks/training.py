"""From examples to a first policy, and from that to a better one."""

import ctypes
import gc
import hashlib

import orjson
from prefect.artifacts import create_image_artifact
from pydantic import BaseModel, ConfigDict

from agentgym.settings import Settings
from agentgym.store import ArtifactRef
from agentgym.tracking import Tracking, track_step
from agentgym.training.config import Learner, TrainingConfig
from agentgym.training.first_policy import first_policy
from agentgym.training.flow_grpo.train import device_of
from agentgym.training.result import IterationMetrics
from agentgym.training.warm_start import ImitationConfig
from tasks.artifacts import read_snapshot, write_checkpoint
from tasks.progress import report_progress
from tasks.ray_job import run_ray_job
from tasks.showing import data_url, learning_curve
from tasks.step import cached_step

CURVES = ("reward", "tool_reliability", "success_rate", "entropy", "kl", "zero_variance_share")


class TrainedPolicy(BaseModel):
    """What the training job answers: the checkpoint, and each iteration in order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: ArtifactRef
    curve: tuple[IterationMetrics, ...]


@cached_step
def imitate_agent(snapshot: ArtifactRef, config: ImitationConfig, learner: Learner, seed: int, settings: Settings) -> ArtifactRef:
    """The policy that training begins with: it acts as the recorded agent did where it went well.

    How it is trained afterwards does not count: to train again on another reward or for longer, nothing is imitated again.
    """
    dataset = read_snapshot(snapshot, settings)
    lineage = {"snapshot_digest": snapshot.digest}
    parameters = config if learner.policy == "planner" else learner
    with track_step("imitate", tracking=tracking(settings), parameters=parameters, lineage=lineage) as run:
        imitated = first_policy(
            dataset.train,
            learner=learner,
            tools=dataset.tools,
            seed=seed,
            device=device_of(learner.policy, learner.gpu),
            planner=config,
            lineage=lineage,
            on_progress=_report_share,
        )
        checkpoint = write_checkpoint(imitated, settings)
        run.log_tags({"policy": learner.policy, "checkpoint_digest": checkpoint.digest})
    _give_back_memory()
    return checkpoint


@cached_step
def train_policy(
    pack: ArtifactRef,
    checkpoint: ArtifactRef,
    snapshot: ArtifactRef,
    teacher: ArtifactRef | None,
    config: TrainingConfig,
    settings: Settings,
) -> ArtifactRef:
    """The checkpoint after `config.method` on the pack's training cases, or on the snapshot's conversations, run as a Ray job."""
    spec = orjson.dumps(
        {
            "pack": pack.model_dump(),
            "checkpoint": checkpoint.model_dump(),
            "snapshot": snapshot.model_dump(),
            "teacher": None if teacher is None else teacher.model_dump(),
            "config": config.with_seed_drawn().model_dump(mode="json"),
            "store": settings.store,
        }
    )
    lineage = {"pack_digest": pack.digest, "start_checkpoint_digest": checkpoint.digest}
    with track_step("train", tracking=tracking(settings), parameters=config, lineage=lineage) as run:
        job_id = hashlib.sha256(spec).hexdigest()[:16]
        answer = run_ray_job("train_policy", spec, job_id=job_id, settings=settings, on_line=_report_line)
        trained = TrainedPolicy.model_validate_json(answer)
        for name in CURVES:
            run.log_curve(name, [getattr(metrics, name) for metrics in trained.curve])
        run.log_artifact("learning_curve.png", learning_curve(trained.curve))
        run.log_tags({"checkpoint_digest": trained.checkpoint.digest})
    create_image_artifact(data_url(learning_curve(trained.curve)), key="learning-curve", description=f"{config.method} on training cases")
    return trained.checkpoint


def tracking(settings: Settings) -> Tracking:
    return Tracking(uri=settings.tracking_uri, artifacts=str(settings.workspace / "runs"))


def _report_share(part: str, share: float) -> None:
    report_progress(round(100 * share), 100, part)


def _report_line(line: str) -> None:
    """A job's progress line; any other line is Ray's own talk."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError:
        return
    if isinstance(told, dict) and "done" in told:
        report_progress(told["done"], told["total"], f"reliability {told['metrics']['tool_reliability']:.1%}")


def _give_back_memory() -> None:
    """Hands what imitation has freed to the system, which the C library would keep while the training job needs as much again."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
