"""Direct preference optimisation: of two ways to lead a conversation, the better one gains against the worse one.

Rafailov et al. 2023 (arXiv:2305.18290), eq. 7, where a response is all that the policy decided in a conversation.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from pydantic import JsonValue
from torch import Tensor
from torch.nn import functional

from agentgym.environments.case import Case
from agentgym.episode import Decision
from agentgym.errors import InsufficientData
from agentgym.traces.trace import Trace
from agentgym.training.flow_grpo.rollouts import Rollout, Sample
from agentgym.training.methods.demonstrations import demonstrate
from agentgym.training.methods.experience import Preference, preferences_between
from agentgym.training.methods.fitting import Measured, Objective
from agentgym.training.methods.lesson import Lesson, Split, T

ROLLOUTS = "rollouts"


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Pair:
    """What was decided in the better and in the worse of two conversations."""

    chosen: tuple[Decision, ...]
    rejected: tuple[Decision, ...]

    @property
    def decisions(self) -> tuple[Decision, ...]:
        return self.chosen + self.rejected


def learn_dpo(lesson: Lesson) -> Mapping[str, JsonValue]:
    """Learns from the preferences people gave; without any from pairs of traces, and without these from pairs of own rollouts.

    Which epoch is kept is decided by playing cases of customers kept out: a policy can tell all pairs apart and yet play worse.
    Raises InsufficientData when the rollouts of a case never differ in reward.
    """
    source, sides = next(((name, sides) for name, sides in _sources(lesson) if sides.learning), ("", None))
    if sides is None:
        raise InsufficientData(
            f"Preferences are learned from pairs of which one is better; {len(lesson.experience.preferences)} preferences, "
            f"{len(lesson.experience.traces)} traces and {lesson.config.episodes} rollouts made 0. Bring traces that failed, or feedback."
        )
    objective = preference_objective(lesson.settings.dpo.beta)
    lesson.fit(
        lesson.batches(sides.learning, objective),
        lesson.batches(sides.validation, objective),
        lesson.settings.fitting if source == ROLLOUTS else lesson.fitting_of(2 * len(sides.learning)),
        judged_by=lesson.split(lesson.stage.cases, lambda case: case.cluster_id).validation,
    )
    return {"pairs_from": source, "pairs": len(sides.learning), "validation_pairs": len(sides.validation)}


def preference_loss(log_ratios: Tensor, *, beta: float) -> Tensor:
    """The mean of -log sigmoid(beta (r_chosen - r_rejected)), shape ().

    log_ratios: of each pair the chosen and the rejected conversation's log-probability, less that under the reference, shape (P, 2).
    Rafailov et al. 2023, eq. 7.
    """
    return -functional.logsigmoid(beta * (log_ratios[:, 0] - log_ratios[:, 1])).mean()


def preference_objective(beta: float) -> Objective[Pair]:
    """The loss of some pairs. Batches are made before anything is learned, so the policy as it is then is the reference."""

    def measured(pairs: Sequence[Pair], log_probability_now: Callable[[], Tensor]) -> Measured:
        sizes = torch.tensor([len(part) for pair in pairs for part in (pair.chosen, pair.rejected)])
        part_of, reference = torch.repeat_interleave(torch.arange(len(sizes)), sizes), log_probability_now()

        def loss(log_probability: Tensor) -> Tensor:
            log_ratios = torch.zeros(len(sizes), device=log_probability.device)
            log_ratios = log_ratios.index_add(0, part_of.to(log_probability.device), log_probability - reference)
            return preference_loss(log_ratios.view(-1, 2), beta=beta)

        return Measured(loss=loss, weight=len(pairs))

    return measured


# --- pairs ---


def _sources(lesson: Lesson) -> Iterator[tuple[str, Split[Pair]]]:
    """Where pairs can come from, the best first; each is looked at only when those before it had none to learn from."""
    experience, is_kept_out = lesson.experience, lesson.kept_out.__contains__
    yield (
        "feedback",
        _split(
            experience.preferences,
            lambda preference: is_kept_out(preference.rejected.cluster_id) or is_kept_out(preference.chosen.cluster_id),
            partial(_recalled, lesson),
        ),
    )
    # Conversations are paired inside each side, so that no customer is in both.
    paired = partial(_pairs_of_traces, lesson)
    yield "traces", _split(experience.traces, lambda trace: is_kept_out(trace.cluster_id), paired)
    yield ROLLOUTS, _split(lesson.stage.cases, lambda case: is_kept_out(case.cluster_id), partial(_played, lesson))


def _split(sources: Sequence[T], is_kept_out: Callable[[T], bool], pairs_of: Callable[[Sequence[T]], Iterator[Pair]]) -> Split[Pair]:
    sides = [[source for source in sources if is_kept_out(source) is side] for side in (False, True)]
    learning, validation = (list(pairs_of(side)) for side in sides)
    return Split(learning=learning, validation=validation)


def _recalled(lesson: Lesson, preferences: Sequence[Preference]) -> Iterator[Pair]:
    """Pairs as the policy would have decided them; one of which it could have taken neither side teaches nothing."""
    tools = lesson.experience.pack.tools
    for preference in preferences:
        chosen = demonstrate(lesson.policy, preference.chosen, tools=tools).decisions
        rejected = demonstrate(lesson.policy, preference.rejected, tools=tools).decisions
        if chosen or rejected:
            yield Pair(chosen=chosen, rejected=rejected)


def _pairs_of_traces(lesson: Lesson, traces: Sequence[Trace]) -> Iterator[Pair]:
    return _recalled(lesson, preferences_between(traces, lesson.experience.pack, rng=lesson.rng(6)))


def _played(lesson: Lesson, cases: Sequence[Case]) -> Iterator[Pair]:
    """The episodes are shared out by the number of cases."""
    group_size, rng = lesson.settings.dpo.group_size, lesson.rng(7)
    share = len(cases) / len(lesson.stage.cases) if cases else 0
    chosen = rng.permutation(len(cases))[: max(1, round(share * lesson.config.episodes / group_size))]
    return best_against_worst(lesson.stage.play(lesson.policy, [cases[place] for place in chosen], group_size=group_size, rng=rng))


def best_against_worst(sample: Sample) -> Iterator[Pair]:
    """A pair for each group whose rewards differ."""
    groups = defaultdict[int, list[Rollout]](list)
    for rollout in sample.rollouts:
        groups[rollout.group_id].append(rollout)
    for group in groups.values():
        best, worst = (pick(group, key=lambda rollout: rollout.trajectory.reward) for pick in (max, min))
        if best.trajectory.reward > worst.trajectory.reward:
            yield Pair(chosen=tuple(best.decisions), rejected=tuple(worst.decisions))
