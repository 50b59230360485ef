"""Rejection sampling: the policy plays, what went without a fault is kept, and imitated.

Yuan et al. 2023 (RFT, arXiv:2308.01825), in rounds as in Gulcehre et al. 2023 (ReST, arXiv:2308.08998): each round plays with what the
last one learned. Different from both: a round that does not serve training customers kept out better than the best so far is undone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.episode import Decision
from agentgym.errors import InsufficientData
from agentgym.training.flow_grpo.rollouts import Rollout, Sample
from agentgym.training.flow_grpo.weights import read_weights, write_weights
from agentgym.training.methods.fitting import Epoch, fit
from agentgym.training.methods.lesson import Lesson
from agentgym.training.methods.playing import is_flawless


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The decisions of a rollout without a fault."""

    decisions: tuple[Decision, ...]


def learn_rft(lesson: Lesson) -> Mapping[str, JsonValue]:
    """Raises InsufficientData when no rollout of the first round is without a fault: there is nothing to imitate."""
    cases = lesson.split(lesson.stage.cases, lambda case: case.cluster_id)
    best, best_reward = read_weights(lesson.policy.network), lesson.reward_on(cases.validation)
    kept_of_round: list[JsonValue] = []
    for number in range(lesson.settings.rft.rounds):
        if lesson.is_late():
            break
        began = perf_counter()
        sample = _played(lesson, cases.learning, number)
        playing_seconds = perf_counter() - began
        kept = list(flawless(sample, most_per_case=lesson.settings.rft.kept_per_case))
        if not kept and kept_of_round:
            break
        _require_some(kept, sample)
        lesson.report(sample, playing_seconds=playing_seconds, epoch=_imitate(lesson, kept, number))
        kept_of_round.append(len(kept))
        reward = lesson.reward_on(cases.validation)
        if reward > best_reward:
            best, best_reward = read_weights(lesson.policy.network), reward
        else:
            write_weights(lesson.policy.network, best)
    return {"kept_rollouts": kept_of_round, "validation_reward": best_reward}


def flawless(sample: Sample, *, most_per_case: int) -> Iterator[Kept]:
    """Of each group the rollouts without a fault that differ in what was decided, the first `most_per_case` of them."""
    seen: dict[int, set[tuple[tuple[str, str], ...]]] = {}
    for rollout in sample.rollouts:
        ways = seen.setdefault(rollout.group_id, set())
        way = _way(rollout)
        if rollout.decisions and is_flawless(rollout.trajectory) and way not in ways and len(ways) < most_per_case:
            ways.add(way)
            yield Kept(decisions=tuple(rollout.decisions))


def _way(rollout: Rollout) -> tuple[tuple[str, str], ...]:
    return tuple((decision.name, decision.choice) for decision in rollout.decisions)


def _played(lesson: Lesson, cases: Sequence[Case], number: int) -> Sample:
    """The round's share of the episodes, over as many different cases as there are."""
    settings, rng = lesson.settings.rft, lesson.rng(6, number)
    count = max(1, round(lesson.config.episodes / (settings.rounds * settings.group_size)))
    places = [int(place) for _ in range(-(-count // len(cases))) for place in rng.permutation(len(cases))][:count]
    return lesson.stage.play(lesson.policy, [cases[place] for place in places], group_size=settings.group_size, rng=rng)


def _imitate(lesson: Lesson, kept: Sequence[Kept], number: int) -> Epoch:
    """Learns what the round kept; how the last epoch went."""
    epochs: list[Epoch] = []
    shuffled = [kept[place] for place in lesson.rng(7, number).permutation(len(kept))]
    fit(
        lesson.policy,
        lesson.batches(shuffled),
        (),
        lesson.settings.fitting.model_copy(update={"epochs": lesson.settings.rft.epochs}),
        learning_rate=lesson.config.learning_rate,
        rng=lesson.rng(8, number),
        on_epoch=epochs.append,
    )
    return epochs[-1]


def _require_some(kept: Sequence[Kept], sample: Sample) -> None:
    if not kept:
        raise InsufficientData(
            f"Rejection sampling learns from rollouts without a fault; of {len(sample.rollouts)} there are 0. "
            "Imitate conversations first (sft), or play more episodes."
        )
