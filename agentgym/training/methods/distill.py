"""Distillation: a teacher plays training cases, and the student imitates what was verified to be without a fault."""

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from agentgym.environments.case import Case
from agentgym.episode import Policy
from agentgym.errors import InsufficientData, InvalidInput
from agentgym.policies.checkpoint import UPSTREAM, Checkpoint, load_policy, load_trainable_policy
from agentgym.traces.trace import Trace
from agentgym.training.methods.lesson import Lesson
from agentgym.training.methods.playing import is_flawless
from agentgym.training.methods.sft import imitate_shown, shown_by


def learn_distill(lesson: Lesson) -> Mapping[str, JsonValue]:
    """Raises InvalidInput without a teacher, InsufficientData when it makes a mistake in every case."""
    teacher = lesson.experience.teacher
    if teacher is None:
        raise InvalidInput("Distillation needs a teacher; there is none. Name a version or an upstream to learn from.")
    places = lesson.rng(6).permutation(len(lesson.stage.cases))[: lesson.config.episodes]
    cases = [lesson.stage.cases[place] for place in places]
    verified = list(_verified(lesson, teacher, cases))
    if not verified:
        raise InsufficientData(
            f"Distillation learns from a teacher's episodes without a fault; of {len(cases)} there are 0. Choose a better teacher."
        )
    learned = imitate_shown(lesson, shown_by(lesson, verified), lesson.settings.fitting)
    return {"teacher_episodes": len(cases), "verified_episodes": len(verified), **learned}


def _verified(lesson: Lesson, teacher: Checkpoint | Policy, cases: Sequence[Case]) -> Iterator[Trace]:
    """What the teacher did in these cases, where it was without a fault. One that acts in batches plays them side by side."""
    rng = lesson.rng(7)
    if isinstance(teacher, Checkpoint) and teacher.manifest.policy != UPSTREAM:
        sample = lesson.stage.play(load_trainable_policy(teacher), cases, group_size=1, rng=rng, is_greedy=True)
        played = {rollout.group_id: rollout.trajectory for rollout in sample.rollouts}
        yield from (lesson.stage.as_trace(cases[place], played[place]) for place in sorted(played) if is_flawless(played[place]))
        return
    acting = load_policy(teacher, environment=lesson.environment) if isinstance(teacher, Checkpoint) else teacher
    for case in cases:
        trajectory = lesson.stage.watch(acting, case, seed=int(rng.integers(2**31)))
        if is_flawless(trajectory):
            yield lesson.stage.as_trace(case, trajectory)
