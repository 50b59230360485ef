"""Whether a log is enough to train on: what is in it, what is missing, what to expect of it, and what to log next.

Enough means three things, in this order: a fifth of the customers, held out, are as many as the gate asks for; most calls have a recorded
result, for the tools are made of these; and a simple learner is expected, at the low end, to choose the right tool in more turns than not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from agentgym.errors import InsufficientData
from agentgym.evaluation.learning_curve import LEAST_CLUSTERS, Forecast, LearningCurve, measure_curve
from agentgym.evaluation.promotion import PromotionCriteria
from agentgym.tools import Tool
from agentgym.traces.census import UNKNOWN, Census, count_traces
from agentgym.traces.snapshot import SplitConfig
from agentgym.traces.trace import Trace
from agentgym.traces.validation import MAX_QUARANTINED_SHARE
from agentgym.training.training_time import TrainingTime, training_time

DEFAULT_TARGET = 0.5
LEAST_ANSWERED_SHARE = 0.8
# What most of the tools of a log that taught well had; a tool below it is learned from what resembles it.
FEW_CALLS = 20
# A share below which what is missing is missing by accident.
MOSTLY = 0.9


class Advice(BaseModel):
    """Something to log next.

    lacking: a fact.   log_next: what to do.   points: of reliability it is expected to bring, in percentage points; None where no
    measurement tells, and `brings` says what it is good for.   is_needed: whether the log is not enough without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    lacking: str
    log_next: str
    brings: str
    points: float | None = None
    is_needed: bool = False


class Readiness(BaseModel):
    """What a log is worth for training.

    conversations: in the whole log; `census` counts those that were looked at and can be used, `quarantined` those that cannot be.
    expected: of as many as the whole log has; `doubled` of twice as many; both None where too little is there to tell.
    advice: what is needed first, then by what it brings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    conversations: int
    census: Census
    quarantined: int
    target: float = Field(ge=0, le=1)
    expected: Forecast | None
    doubled: Forecast | None
    curve: LearningCurve | None
    time: TrainingTime | None
    advice: tuple[Advice, ...]

    @property
    def is_enough(self) -> bool:
        return not any(advice.is_needed for advice in self.advice)


def assess_readiness(
    traces: Sequence[Trace], *, tools: Sequence[Tool], conversations: int, quarantined: int, target: float = DEFAULT_TARGET, seed: int = 0
) -> Readiness:
    """traces: that can be used, of a log of `conversations`, or some drawn from it.   tools: in scope where a trace does not say.

    target: the reliability that must be expected at the low end, in 0–1.
    """
    census = count_traces(traces)
    try:
        curve = measure_curve(traces, tools=tools, seed=seed)
    except InsufficientData:
        curve = None
    usable = round(conversations * len(traces) / max(1, len(traces) + quarantined))
    expected = curve.forecast(usable) if curve else None
    doubled = curve.forecast(2 * usable) if curve else None
    situation = _Situation(census, quarantined, usable, target, curve, expected, doubled)
    return Readiness(
        conversations=conversations,
        census=census,
        quarantined=quarantined,
        target=target,
        expected=expected,
        doubled=doubled,
        curve=curve,
        time=training_time(census, curve, usable) if curve else None,
        advice=_sorted(_advice(situation)),
    )


@dataclass(frozen=True)
class _Situation:
    census: Census
    quarantined: int
    usable: int
    target: float
    curve: LearningCurve | None
    expected: Forecast | None
    doubled: Forecast | None

    @property
    def customers(self) -> int:
        """Of the whole log: known ones, and conversations of which nobody knows whose they are."""
        in_sample = self.census.customers + self.census.conversations - self.census.with_customer
        return self.in_log(in_sample)

    def in_log(self, in_sample: int) -> int:
        """How many there are in the whole log, where so many are in the conversations that were looked at."""
        return round(in_sample * self.usable / max(1, self.census.conversations))

    def gain_of(self, conversations: float) -> float | None:
        """Points of reliability that so many more are expected to bring."""
        if self.curve is None or self.expected is None:
            return None
        return 100 * (self.curve.forecast(round(self.usable + conversations)).mean - self.expected.mean)


def _sorted(advice: Iterator[Advice]) -> tuple[Advice, ...]:
    return tuple(sorted(advice, key=lambda each: (not each.is_needed, each.points is None, -(each.points or 0))))


def _advice(found: _Situation) -> Iterator[Advice]:
    yield from _on_amount(found)
    yield from _on_tools(found)
    yield from _on_outcomes(found.census)
    yield from _on_conversations(found)


def _on_amount(found: _Situation) -> Iterator[Advice]:
    least = PromotionCriteria.for_evidence("next_call").min_clusters / SplitConfig().held_out_share
    if found.customers < least:
        yield Advice(
            name="customers",
            lacking=f"{found.customers} customers; a fifth of them are held out, and the gate asks for {round(least) // 5}.",
            log_next=f"Log conversations of {round(least - found.customers)} more customers.",
            brings="a better version can be told from a worse one",
            is_needed=True,
        )
    if found.expected is None:
        yield Advice(
            name="conversations",
            lacking=f"Too little to measure how learning goes: that takes {LEAST_CLUSTERS} customers, and turns that call and that talk.",
            log_next="Log more conversations, with their calls.",
            brings="what to expect can be told",
            is_needed=True,
        )
        return
    gain = found.gain_of(found.usable)
    is_needed = found.expected.low < found.target
    yield Advice(
        name="conversations",
        lacking=f"{found.usable} usable conversations.",
        log_next=f"Log {found.usable} more, which doubles them.",
        brings="more situations that were seen before",
        points=gain,
        is_needed=is_needed,
    )
    if found.quarantined:
        more = found.quarantined * found.usable / max(1, found.census.conversations)
        share = found.quarantined / (found.quarantined + found.census.conversations)
        yield Advice(
            name="quarantined",
            lacking=f"{found.quarantined} conversations ({share:.0%}) cannot be used; training takes {MAX_QUARANTINED_SHARE:.0%}.",
            log_next="Mend what `agentgym traces validate` tells of them.",
            brings="more conversations",
            points=found.gain_of(more),
            is_needed=share > MAX_QUARANTINED_SHARE,
        )


def _on_tools(found: _Situation) -> Iterator[Advice]:
    census = found.census
    if not census.calls:
        yield Advice(
            name="calls",
            lacking="No conversation calls a tool.",
            log_next="Log the agent's calls with their arguments, as `tool_calls` of its messages.",
            brings="there is something to learn but words",
            is_needed=True,
        )
    if census.answered < LEAST_ANSWERED_SHARE * census.calls:
        yield Advice(
            name="results",
            lacking=f"{census.calls - census.answered} of {census.calls} calls have no recorded result.",
            log_next="Log what each tool gave back, as a message of role `tool` after the call.",
            brings="tools that can be played with: they are made of recorded results",
            is_needed=True,
        )
    rare = [name for name, tool in census.tools.items() if found.in_log(tool.calls) < FEW_CALLS]
    if rare:
        yield Advice(
            name="rare_tools",
            lacking=f"{len(rare)} of {len(census.tools)} tools have fewer than {FEW_CALLS} calls: {_listed(rare)}.",
            log_next="Log more conversations that need them, rather than any.",
            brings="these tools are chosen as well as the others",
            points=_points_of_rare(rare, found),
        )
    undeclared = [name for name, tool in census.tools.items() if not tool.is_declared]
    if undeclared:
        yield Advice(
            name="schemas",
            lacking=f"{len(undeclared)} of {len(census.tools)} tools have no declared schema: {_listed(undeclared)}.",
            log_next="Log the `tools` that the agent was offered, or put a tools.json beside the log.",
            brings="arguments that may be left out, and tools that were offered and not called, are known and not guessed",
        )


def _points_of_rare(rare: Sequence[str], found: _Situation) -> float | None:
    """If turns of rare tools went as those of the others do now; None where either was not measured."""
    measured = found.curve.tool_reliability if found.curve else {}
    few = [measured[name] for name in rare if name in measured]
    many = [counts for name, counts in measured.items() if name not in rare]
    if not sum(due for _, due in few) or not sum(due for _, due in many):
        return None
    gap = sum(right for right, _ in many) / sum(due for _, due in many) - sum(right for right, _ in few) / sum(due for _, due in few)
    return 100 * max(0.0, gap) * found.census.calls_of(rare) / found.census.calls


def _on_outcomes(census: Census) -> Iterator[Advice]:
    known = {name: count for name, count in census.outcomes.items() if name != UNKNOWN}
    if census.with_outcome < MOSTLY * census.conversations:
        yield Advice(
            name="outcomes",
            lacking=f"{census.conversations - census.with_outcome} of {census.conversations} conversations do not say how they ended.",
            log_next="Log `outcome`: resolved, escalated, unresolved or abandoned.",
            brings="what failed is no longer imitated as if it had gone well, and a reward can be held against what customers got",
        )
    if len(known) == 1:
        (only,) = known
        yield Advice(
            name="one_sided_outcomes",
            lacking=f"Every known outcome is {only}.",
            log_next="Log the conversations that ended otherwise too.",
            brings="without both kinds nobody can tell whether a reward tells good from bad",
        )


def _on_conversations(found: _Situation) -> Iterator[Advice]:
    census = found.census

    def missing(name: str, having: int, log_next: str, brings: str) -> Iterator[Advice]:
        if having < MOSTLY * census.conversations:
            lacking = f"{census.conversations - having} of {census.conversations} conversations have no {name.replace('_', ' ')}."
            yield Advice(name=name, lacking=lacking, log_next=log_next, brings=brings)

    yield from missing(
        "customer_id",
        census.with_customer,
        "Log `customer_id`, or any pseudonym of it that stays the same.",
        "no customer is learned from and judged on; intervals are as wide as they should be",
    )
    yield from missing("started_at", census.with_time, "Log when each conversation began.", "`tomorrow` and `next Friday` become dates")
    yield from missing(
        "system_prompt", census.with_system_prompt, "Log the system message the agent was given.", "a language model learns under its rules"
    )
    yield from missing(
        "satisfaction_score", census.with_score, "Log what customers rate, 1 to 5; leave it out where they do not.", "a reward for it"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
