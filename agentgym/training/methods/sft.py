"""Supervised fine-tuning: what the assistant did in records of customers who were served becomes more probable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from agentgym.errors import InsufficientData
from agentgym.traces.trace import Trace
from agentgym.training.methods.demonstrations import Demonstration, demonstrate
from agentgym.training.methods.lesson import Lesson, Split
from agentgym.training.methods.settings import FittingSettings
from agentgym.training.warm_start import accepted


def learn_sft(lesson: Lesson) -> Mapping[str, JsonValue]:
    """Maximum likelihood of the turns in `accepted` traces. Raises InsufficientData without any that the policy could take itself."""
    found = shown_by(lesson, accepted(lesson.experience.traces))
    return imitate_shown(lesson, found, lesson.fitting_of(len(found.sides.learning)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What traces show the policy.   turns, unsaid_turns: in all of them, see `Demonstration`."""

    sides: Split[Demonstration]
    turns: int
    unsaid_turns: int


def shown_by(lesson: Lesson, traces: Sequence[Trace]) -> Found:
    tools = lesson.experience.pack.tools
    shown = [demonstrate(lesson.policy, trace, tools=tools) for trace in traces]
    usable = [demonstration for demonstration in shown if demonstration.decisions]
    turns, unsaid = sum(demonstration.turns for demonstration in shown), sum(demonstration.unsaid_turns for demonstration in shown)
    if not usable:
        raise InsufficientData(
            f"Imitation needs turns the policy could take itself; of {turns} turns in {len(traces)} conversations it could take "
            f"{turns - unsaid}. Bring conversations with calls of tools in scope whose values were said or found."
        )
    return Found(sides=lesson.split(usable, lambda demonstration: demonstration.cluster_id), turns=turns, unsaid_turns=unsaid)


def imitate_shown(lesson: Lesson, found: Found, fitting: FittingSettings) -> Mapping[str, JsonValue]:
    """Learns the turns, stops by those of training customers kept out; how many of them there were."""
    sides = found.sides
    lesson.fit(lesson.batches(sides.learning), lesson.batches(sides.validation), fitting)
    counts = {"conversations": len(sides.learning), "validation_conversations": len(sides.validation)}
    return {**counts, "turns": found.turns, "unsaid_turns": found.unsaid_turns}
