"""The folder a run leaves behind: what it was asked, what it played, what came out, and with which versions."""

import gzip
import platform
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import ValidationError

from agentgym.episode import Action, Trajectory
from agentgym.errors import InvalidInput, Unavailable
from agentgym.policies.checkpoint import Checkpoint
from agentgym.store import write_atomically
from agentgym.training.config import TrainingConfig
from agentgym.training.result import RESULT_FILE, IterationMetrics
from agentgym.training.resume_point import ResumePoint

CONFIG, ENVIRONMENT, CURVE = "config.json", "environment.json", "curve.jsonl"
START, TEACHER, CHECKPOINT, RESUME_POINT = "start.zip", "teacher.zip", "checkpoint.zip", "resume.zip"
HELD_OUT, LAST_ITERATION = "held-out.jsonl.gz", "last-iteration.jsonl.gz"
PACKAGES = ("agentgym", "numpy", "peft", "pydantic", "ray", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """config.json, environment.json; start.zip: the policy it began as; teacher.zip: where it has one; curve.jsonl: a line for each
    iteration; checkpoint.zip: the policy as the last checkpoint or the end left it; resume.zip: until the run is over;
    last-iteration.jsonl.gz, held-out.jsonl.gz: trajectories; result.json: when it is over.
    """

    path: Path

    @classmethod
    def create(cls, config: TrainingConfig, *, now: datetime) -> Self:
        """A new folder, named after scenario and time; a second run of the same second gets a number. Raises Unavailable."""
        name = f"{config.scenario}-{now:%Y%m%dT%H%M%SZ}"
        try:
            config.output_dir.mkdir(parents=True, exist_ok=True)
            folder = cls(_new_folder(config.output_dir.absolute(), name))
        except OSError as error:
            raise Unavailable(
                f"Training writes a folder into {str(config.output_dir)!r}; it said {error}. Name another with output_dir."
            ) from error
        write_atomically(folder.path / CONFIG, (config.model_dump_json(indent=2) + "\n").encode())
        return folder

    @classmethod
    def of_interrupted(cls, path: Path) -> Self:
        """The folder of a run that can go on. Raises InvalidInput where there is none, or where it is over."""
        if not path.is_dir():
            raise InvalidInput(f"A run goes on in its folder; there is none at {str(path)!r}. Give the folder that training named.")
        if not (path / CONFIG).is_file():
            raise InvalidInput(f"A run goes on in its folder; {str(path)!r} holds no {CONFIG}. Give the folder that training named.")
        if (path / RESULT_FILE).exists():
            raise InvalidInput(f"Only a run that was interrupted can go on; the one in {str(path)!r} is over. Start from it with --from.")
        return cls(path.absolute())

    def read_config(self) -> TrainingConfig:
        try:
            return TrainingConfig.model_validate_json((self.path / CONFIG).read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInput(f"{CONFIG} holds a TrainingConfig; in {self.path} {first['loc']}: {first['msg']}. Train again.") from error

    def write_environment(self, *, device: str, now: datetime) -> datetime:
        """Notes what the run runs on. Returns when it began: now, or when its first part did."""
        file = self.path / ENVIRONMENT
        began: str = orjson.loads(file.read_bytes())["started_at"] if file.exists() else now.isoformat()
        told = {
            "started_at": began,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "device": device,
            "packages": {name: version(name) for name in PACKAGES},
        }
        write_atomically(file, orjson.dumps(told, option=orjson.OPT_INDENT_2))
        return datetime.fromisoformat(began)

    def write_checkpoint(self, checkpoint: Checkpoint, name: str = CHECKPOINT) -> None:
        write_atomically(self.path / name, checkpoint.to_bytes())

    def read_checkpoint(self, name: str = CHECKPOINT) -> Checkpoint | None:
        """None when the run has not come so far."""
        file = self.path / name
        return Checkpoint.from_bytes(file.read_bytes()) if file.exists() else None

    def write_curve(self, curve: Sequence[IterationMetrics]) -> None:
        """All of it, in place of what was there."""
        write_atomically(self.path / CURVE, b"".join(_line(metrics) for metrics in curve))

    def append_iteration(self, metrics: IterationMetrics) -> None:
        try:
            with (self.path / CURVE).open("ab") as file:
                file.write(_line(metrics))
        except OSError as error:
            raise Unavailable(
                f"Training writes its curve into {self.path}; it said {error}. Make room, then go on with --resume."
            ) from error

    def read_curve(self) -> list[IterationMetrics]:
        return [IterationMetrics.model_validate_json(line) for line in (self.path / CURVE).read_bytes().splitlines()]

    def write_resume_point(self, point: ResumePoint) -> None:
        write_atomically(self.path / RESUME_POINT, point.to_bytes())

    def read_resume_point(self) -> ResumePoint | None:
        file = self.path / RESUME_POINT
        return ResumePoint.from_bytes(file.read_bytes()) if file.exists() else None

    def remove_unless_begun(self) -> None:
        """Leaves nothing of a run that never had a policy to begin as."""
        if not (self.path / START).exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def remove_resume_point(self) -> None:
        (self.path / RESUME_POINT).unlink(missing_ok=True)

    def write_trajectories(self, name: str, trajectories: Iterable[Trajectory]) -> None:
        """One JSON object a line, gzipped."""
        lines = b"".join(orjson.dumps(_trajectory_json(trajectory)) + b"\n" for trajectory in trajectories)
        write_atomically(self.path / name, gzip.compress(lines, compresslevel=3, mtime=0))


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _line(metrics: IterationMetrics) -> bytes:
    return metrics.model_dump_json().encode() + b"\n"


def _trajectory_json(trajectory: Trajectory) -> dict[str, Any]:
    return {
        "case_id": trajectory.case_id,
        "kind": trajectory.kind,
        "cluster_id": trajectory.cluster_id,
        "outcome": trajectory.outcome.value,
        "reward": trajectory.reward,
        "reward_terms": dict(trajectory.reward_terms),
        "satisfaction_score": trajectory.satisfaction_score,
        "agent_tokens": trajectory.agent_tokens,
        "simulated_seconds": trajectory.simulated_seconds,
        "is_truncated": trajectory.is_truncated,
        "calls": [
            {"name": judged.call.name, "is_correct": judged.is_correct, "is_error": judged.is_error, "reason": judged.reason}
            for judged in trajectory.calls
        ],
        "missing_calls": list(trajectory.missing_calls),
        "messages": [message.model_dump(mode="json", exclude_defaults=True) for message in trajectory.messages],
        "decisions": [_decisions_json(action) for action in trajectory.actions],
    }


def _decisions_json(action: Action) -> list[dict[str, Any]]:
    return [
        {"name": decision.name, "choice": decision.choice, "log_probability": decision.log_probability} for decision in action.decisions
    ]
