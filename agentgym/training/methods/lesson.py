"""What every method is given: the policy that learns, what from, how, where to play, and whom to tell."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic, perf_counter
from typing import Generic, TypeVar

import numpy as np

from agentgym.environments.case import Case
from agentgym.episode import TrainablePolicy, Trajectory
from agentgym.errors import InsufficientData
from agentgym.reward import trajectory_metrics
from agentgym.training.config import TrainingConfig
from agentgym.training.flow_grpo.rollouts import Sample
from agentgym.training.methods.experience import Experience
from agentgym.training.methods.fitting import MOST_DECISIONS, Batch, E, Epoch, Objective, fit, likelihood, make_batches
from agentgym.training.methods.playing import Stage
from agentgym.training.methods.settings import FittingSettings, MethodSettings
from agentgym.training.result import IterationMetrics

T = TypeVar("T")

SHOWN_CASES = 48
"""How many rollouts show what the policy does after an epoch of learning that itself plays nothing."""
JUDGING_CASES = 200
"""How many cases weights are chosen by, at most."""


@dataclass(kw_only=True)
class Lesson:
    """A method's run. What it tells is one point for each epoch, or for each round of playing."""

    policy: TrainablePolicy
    experience: Experience
    config: TrainingConfig
    settings: MethodSettings
    environment: Mapping[str, str]
    on_iteration: Callable[[IterationMetrics], None]
    curve: list[IterationMetrics] = field(default_factory=list)
    played: Sequence[Trajectory] = ()
    began: float = field(default_factory=monotonic)

    @property
    def seed(self) -> int:
        return self.config.seed or 0

    @cached_property
    def stage(self) -> Stage:
        return Stage(self.experience.pack, reward=self.config.reward)

    def rng(self, *purpose: int) -> np.random.Generator:
        """Random numbers of their own for each purpose."""
        return np.random.default_rng([self.seed, *purpose])

    def is_late(self) -> bool:
        limit = self.config.time_limit_seconds
        return limit is not None and monotonic() - self.began > limit

    def fitting_of(self, conversations: int) -> FittingSettings:
        """For recorded conversations, of which each is an episode every time it is gone through: a small budget ends learning early."""
        settings = self.settings.fitting
        return settings.model_copy(update={"epochs": min(settings.epochs, -(-self.config.episodes // conversations))})

    def batches(self, examples: Sequence[E], objective: Objective[E] = likelihood) -> list[Batch]:
        most = self.config.max_decisions_per_pass or MOST_DECISIONS
        return make_batches(self.policy, examples, size=self.config.batch_size, objective=objective, most_decisions=most)

    def fit(
        self, learning: Sequence[Batch], validation: Sequence[Batch], settings: FittingSettings, *, judged_by: Sequence[Case] = ()
    ) -> None:
        """Fits the policy and keeps the best epoch: by validation loss, or by the reward of playing the cases of `judged_by`.

        After each epoch it also plays some training cases, to show what it does by now; nothing is learned from that.
        """
        fit(
            self.policy,
            learning,
            validation,
            settings,
            learning_rate=self.config.learning_rate,
            rng=self.rng(1),
            on_epoch=self._show,
            is_late=self.is_late,
            worth=(lambda: self.reward_on(judged_by)) if judged_by else None,
        )

    def reward_on(self, cases: Sequence[Case]) -> float:
        """Of the likeliest actions, on the same of these cases and with the same random numbers each time."""
        sample = self.stage.play(self.policy, cases[:JUDGING_CASES], group_size=1, rng=self.rng(2), is_greedy=True)
        return trajectory_metrics([rollout.trajectory for rollout in sample.rollouts])["reward"]

    @cached_property
    def kept_out(self) -> frozenset[str]:
        """Training customers who are judged by and never learned from: in an order of chance, until they have their share of all cases
        and conversations; at least one of them, and never all.
        """
        clusters = Counter([*(trace.cluster_id for trace in self.experience.traces), *(case.cluster_id for case in self.stage.cases)])
        ordered = [sorted(clusters)[place] for place in self.rng(3).permutation(len(clusters))]
        wanted, taken, count = self.settings.fitting.validation_share * clusters.total(), list[str](), 0
        for cluster in ordered[:-1]:
            if taken and count >= wanted:
                break
            taken.append(cluster)
            count += clusters[cluster]
        return frozenset(taken)

    def split(self, examples: Sequence[T], customer_of: Callable[[T], str]) -> "Split[T]":
        """Those to learn from, in an order of chance, and those of customers kept out. Raises InsufficientData where either has none."""
        shuffled = [examples[place] for place in self.rng(4).permutation(len(examples))]
        sides = Split(
            learning=[example for example in shuffled if customer_of(example) not in self.kept_out],
            validation=[example for example in shuffled if customer_of(example) in self.kept_out],
        )
        if not sides.learning or not sides.validation:
            raise InsufficientData(
                f"Learning needs examples of some customers to learn from and of others to judge by; got {len(sides.learning)} and "
                f"{len(sides.validation)} of {len(self.kept_out)} customers kept out. Bring conversations of more customers."
            )
        return sides

    def report(self, sample: Sample, *, playing_seconds: float, epoch: Epoch | None) -> None:
        """One point: how the policy played, and what was learned since the last one."""
        self.played = tuple(rollout.trajectory for rollout in sample.rollouts)
        played = trajectory_metrics(self.played)
        names = ("reward", "tool_reliability", "success_rate", "agent_tokens", "simulated_seconds")
        metrics = IterationMetrics(
            iteration=len(self.curve) + 1,
            **{name: played[name] for name in names},
            rollouts=len(sample.rollouts),
            crashes=len(sample.crashes),
            decisions=0 if epoch is None else epoch.decisions,
            entropy=None if epoch is None else epoch.entropy,
            loss=None if epoch is None else epoch.loss,
            validation_loss=None if epoch is None else epoch.validation_loss,
            sampling_seconds=playing_seconds,
            learning_seconds=0.0 if epoch is None else epoch.seconds,
            syncing_seconds=0.0,
        )
        self.curve.append(metrics)
        self.on_iteration(metrics)

    def _show(self, epoch: Epoch) -> None:
        began, cases = perf_counter(), self.stage.cases
        rng = self.rng(5)  # the same cases and random numbers each time, so that points differ by what was learned alone
        shown = rng.choice(len(cases), size=min(SHOWN_CASES, len(cases)), replace=False)
        sample = self.stage.play(self.policy, [cases[place] for place in shown], group_size=1, rng=rng)
        self.report(sample, playing_seconds=perf_counter() - began, epoch=epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Split(Generic[T]):
    """Examples of customers to learn from, and of customers to judge by."""

    learning: list[T]
    validation: list[T]
