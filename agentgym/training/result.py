"""What training leaves behind: a checkpoint, the curve that led to it, and what both are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from agentgym.episode import Trajectory
from agentgym.errors import InvalidInput
from agentgym.statistics import Estimate
from agentgym.store import write_atomically
from agentgym.training.config import TrainingConfig
from agentgym.verdicts import Check, RewardAudit

if TYPE_CHECKING:
    from agentgym.policies.checkpoint import Checkpoint

RESULT_FILE = "result.json"


class IterationMetrics(BaseModel):
    """One iteration, measured on the rollouts it learned from: sampled actions on training cases, so below what greedy play reaches.

    reward, tool_reliability, success_rate: over all rollouts of the iteration.   agent_tokens, simulated_seconds: of a rollout; the
    seconds are the agent's on the simulated clock.   zero_variance_share: groups that taught nothing; None where nothing is compared in
    groups.
    decisions: learned from. Where they are 0 the four measures of learning are None:
    entropy: nats per decision.   kl: from the policy training started from, nats per decision; 0 when no pull towards it is configured.
    clip_share: decisions whose ratio left the clip range in the last epoch.   max_log_ratio: largest |log ratio| before the first update;
    0 to rounding, as the policy that sampled is the policy that learns.   importance_mean, importance_max: weights of decisions that other
    weights or another arithmetic sampled; 1 where they do not weigh.   gradient_norm: the largest of the updates, before it is shortened.
    decisions_per_rollout: taken, whether learned from or not; None where nothing was played.   settled_share: of the training cases, set
    aside as always or never solved.   mastery: share of rollouts that would go without a mistake on the pack's own mix of cases, by what
    was last seen of each kind; unlike the measures above it does not fall when harder cases are drawn.
    loss, validation_loss: of methods that learn from examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    iteration: int
    reward: float
    tool_reliability: float
    success_rate: float
    agent_tokens: float
    simulated_seconds: float
    zero_variance_share: float | None = None
    rollouts: int
    crashes: int
    decisions: int
    entropy: float | None = None
    kl: float | None = None
    clip_share: float | None = None
    max_log_ratio: float | None = None
    importance_mean: float | None = None
    importance_max: float | None = None
    gradient_norm: float | None = None
    decisions_per_rollout: float | None = None
    loss: float | None = None
    validation_loss: float | None = None
    settled_share: float | None = None
    mastery: float | None = None
    sampling_seconds: float
    learning_seconds: float
    syncing_seconds: float

    @property
    def seconds(self) -> float:
        """Wall clock of the whole iteration."""
        return self.sampling_seconds + self.learning_seconds + self.syncing_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """The trained policy, each iteration in order, and the trajectories of the last of them."""

    checkpoint: "Checkpoint"
    curve: Sequence[IterationMetrics]
    trajectories: Sequence[Trajectory] = ()


Readiness = Literal["ready", "not_ready", "not_shown"]


class TrainingMetrics(BaseModel):
    """What a run reached and what it took. Shares are in 0–1; a reduction or saving below 0 is an increase.

    On held-out cases, played greedily: tool_reliability, success_rate.   final_reward: mean of an episode's.
    average_tokens: written by the agent for a ticket.   cost_reduction: of these, against the scenario's ticket (500 tokens in customer
    support).   cost_reduction_against_logs: the same against today's agent on the same customers; None where there are no logs.
    average_response_seconds: the agent's time for a ticket on the simulated clock, not measured in the world.   time_saving: of these,
    against the scenario's ticket (240 seconds).

    Of the training itself: episodes_completed: rollouts played to their end, to learn from; None where recorded conversations are learned
    from.   training_seconds: wall clock, with everything from the first conversation to the last evaluation; of a run that was
    interrupted, the iterations it kept and all of its last part.   cost_per_episode: seconds of wall clock that learning took for each
    rollout, which the price of the machine turns into money; None where nothing was played.
    convergence_episode: by `convergence_episode`; None when it did not converge.   deployment_readiness: by `readiness`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    tool_reliability: float = Field(ge=0, le=1)
    success_rate: float = Field(ge=0, le=1)
    final_reward: float
    average_tokens: float = Field(ge=0)
    cost_reduction: float = Field(le=1)
    cost_reduction_against_logs: float | None = Field(default=None, le=1)
    average_response_seconds: float = Field(ge=0)
    time_saving: float = Field(le=1)
    episodes_completed: int | None = Field(default=None, ge=0)
    training_seconds: float = Field(ge=0)
    cost_per_episode: float | None = Field(default=None, ge=0)
    convergence_episode: int | None = Field(default=None, ge=1)
    deployment_readiness: Readiness


LOWER_IS_BETTER = frozenset({"average_tokens", "average_response_seconds", "training_seconds", "cost_per_episode", "convergence_episode"})


class TrainingResult(BaseModel):
    """A run that came to its end.

    criteria: the scenario's thresholds by metric.   checks: how the policy stands against them.   estimates: of the policy on held-out
    cases, with intervals; `start` of the one it began as, `logs` of today's agent on the same customers, `floors` of players without skill.
    audit: of the reward, before anything was trained; None where the method reads none.
    findings: what was worth a warning on the way.   device: where networks were computed.   checkpoint_digest: of the policy in
    `checkpoint.zip`.   folder: where it was saved, with everything else of the run; None before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    config: TrainingConfig
    metrics: TrainingMetrics
    criteria: dict[str, float]
    checks: tuple[Check, ...]
    estimates: dict[str, Estimate]
    start: dict[str, Estimate]
    logs: dict[str, Estimate] | None = None
    floors: dict[str, dict[str, Estimate]] = {}
    audit: RewardAudit | None = None
    findings: tuple[str, ...] = ()
    device: str
    checkpoint_digest: str
    started_at: AwareDatetime
    finished_at: AwareDatetime
    folder: Path | None = Field(default=None, exclude=True)

    @property
    def is_ready(self) -> bool:
        return self.metrics.deployment_readiness == "ready"

    def meets_target(self, thresholds: Mapping[str, float] | None = None) -> bool:
        """Whether each metric reaches its threshold: at least it, or at most it where less is better.

        thresholds: by the names of `TrainingMetrics`; None for the scenario's criteria. Point values are compared; `checks` also ask
        whether the interval leaves doubt. A metric that is None has not reached anything. Raises InvalidInput for an unknown name.
        """
        return all(self._reaches(name, threshold) for name, threshold in (self.criteria if thresholds is None else thresholds).items())

    def save(self, folder: Path) -> Path:
        """Writes `result.json` whole or not at all, making the folder where it is missing; the path of the file."""
        path = folder / RESULT_FILE
        write_atomically(path, (self.model_dump_json(indent=2) + "\n").encode())
        return path

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The result in this folder or file. Raises InvalidInput when there is none, or it cannot be read."""
        file = Path(path) / RESULT_FILE if Path(path).is_dir() else Path(path)
        try:
            result = cls.model_validate_json(file.read_bytes())
        except FileNotFoundError as error:
            raise InvalidInput(f"A finished run has a {RESULT_FILE}; nothing is at {file}. Give the folder that training named.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise InvalidInput(f"A result has the fields of TrainingResult; in {file} {where}: {first['msg']}. Train again.") from error
        return result.model_copy(update={"folder": file.parent})

    def _reaches(self, name: str, threshold: float) -> bool:
        known = [field for field in TrainingMetrics.model_fields if field != "deployment_readiness"]
        if name not in known:
            raise InvalidInput(f"A threshold is for a metric of training; {name!r} is none. Choose of {', '.join(known)}.")
        reached: float | None = getattr(self.metrics, name)
        if reached is None:
            return False
        return reached <= threshold if name in LOWER_IS_BETTER else reached >= threshold
