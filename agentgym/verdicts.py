"""What was concluded, and why: evaluation reports, promotion decisions and A/B test reports, as values that travel as JSON."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agentgym.statistics import Estimate

Evidence = Literal["play", "next_call"]
CheckOutcome = Literal["passed", "failed", "inconclusive"]
Verdict = Literal["promote", "refuse", "inconclusive"]
LiveVerdict = Literal["ship", "stop", "keep_running"]
AuditVerdict = Literal["sound", "refuse", "inconclusive"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the content, the same for equal values."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Subject(_Value):
    """Who was evaluated: a name for people, and the digest of the checkpoint, which is what a gate goes by."""

    name: str
    checkpoint_digest: str = Field(min_length=1)


class Measure(_Value):
    """One case's part of a metric; the metric is the sum of numerators ÷ the sum of denominators."""

    numerator: float
    denominator: float = Field(default=1.0, ge=0)


class CaseRow(_Value):
    """What one case, or its part within one slice, adds to every metric.

    cluster_id: the customer, else the conversation.   trial: counts from 0 the times this case was played.
    """

    case_id: str
    kind: str
    cluster_id: str
    trial: int = 0
    measures: dict[str, Measure]


class Failure(_Value):
    """A case that ended in a crash: it has no score, not even 0."""

    case_id: str
    trial: int = 0
    error: str


class EvaluationReport(_Value):
    """How a policy did on a set of cases.

    evidence: `play`, episodes in an environment; or `next_call`, the recorded dialogues' next call asked for at every assistant step.
    estimates, slices: by metric, and by kind then metric; a metric is absent where it is undefined, as precision is without a call.
    """

    evidence: Evidence
    subject: Subject
    scenario: str
    case_set_digest: str
    seed: int
    trials: int = Field(default=1, ge=1)
    estimates: dict[str, Estimate]
    slices: dict[str, dict[str, Estimate]]
    failures: tuple[Failure, ...] = ()
    rows: tuple[CaseRow, ...]

    @property
    def episodes(self) -> int:
        """Episodes started: finished ones and failures."""
        return len({(row.case_id, row.trial) for row in self.rows}) + len(self.failures)

    @property
    def failure_share(self) -> float:
        return len(self.failures) / self.episodes


class Check(_Value):
    """One question a gate asked, with its answer in words and the difference it was read from."""

    name: str
    outcome: CheckOutcome
    statement: str
    difference: Estimate | None = None


class PromotionDecision(_Value):
    """Whether a challenger may take the champion's place, with every check that was made.

    The verdict follows from the checks and cannot be set: one failed check refuses, one inconclusive check leaves it open.
    champion: None on the first turn of the loop, when absolute floors are asked instead.
    """

    evidence: Evidence
    primary_metric: str
    case_set_digest: str
    challenger: Subject
    champion: Subject | None
    challenger_report_digest: str
    champion_report_digest: str | None
    checks: tuple[Check, ...] = Field(min_length=1)
    criteria: dict[str, JsonValue]

    @property
    def verdict(self) -> Verdict:
        outcomes = {check.outcome for check in self.checks}
        if "failed" in outcomes:
            return "refuse"
        return "inconclusive" if "inconclusive" in outcomes else "promote"

    @property
    def promote(self) -> bool:
        return self.verdict == "promote"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every check in words, those that stand against the promotion first."""
        return _in_words(self.checks)


class PaidPlayer(_Value):
    """What one player of an audit was paid for a case.   terms: means by term, which add up to the reward's."""

    role: Literal["floor", "adversary", "honest"]
    reward: Estimate
    terms: dict[str, float]


class RewardAudit(_Value):
    """Whether a reward pays for honest work only, with every check that was made.

    The verdict follows from the checks and cannot be set: one failed check refuses, one inconclusive check leaves it open.
    players: by name; empty where there was too little to play.   floor: the name of the best one without skill.
    """

    scenario: str
    case_set_digest: str
    cases: int
    seed: int
    players: dict[str, PaidPlayer]
    floor: str | None
    checks: tuple[Check, ...] = Field(min_length=1)
    criteria: dict[str, JsonValue]

    @property
    def verdict(self) -> AuditVerdict:
        outcomes = {check.outcome for check in self.checks}
        if "failed" in outcomes:
            return "refuse"
        return "inconclusive" if "inconclusive" in outcomes else "sound"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every check in words, those that stand against the reward first."""
        return _in_words(self.checks)


class WaivedLiveTest(_Value):
    """Leave to promote on an offline verdict alone; the registry's history keeps the reason."""

    reason: str = Field(min_length=1)


class WaivedFidelity(_Value):
    """Leave to train in an environment that fell below the bar; the registry's history keeps the reason.

    failed: the checks that it failed, in words.
    """

    reason: str = Field(min_length=1)
    failed: tuple[str, ...] = Field(min_length=1)


class Arm(_Value):
    """What one variant of an A/B test has served so far.

    subject: named as the split names it, `2` for version 2.   weight: its share of the traffic now, in 0–1.
    customers, conversations: counted on the variant a customer met first.   outcomes: conversations whose outcome is known, `successes`
    of them as wanted.   requests: answers asked of it, `failures` of which it did not give.
    """

    subject: Subject
    weight: float = Field(ge=0, le=1)
    customers: int = Field(ge=0)
    conversations: int = Field(ge=0)
    outcomes: int = Field(ge=0)
    successes: int = Field(ge=0)
    requests: int = Field(ge=0)
    failures: int = Field(ge=0)

    @property
    def success_rate(self) -> float | None:
        """Successes ÷ outcomes; None before the first outcome."""
        return self.successes / self.outcomes if self.outcomes else None


class Look(_Value):
    """The difference in success, treatment minus control, as it stood at a moment.

    customers: of both arms, with a known outcome.   low, high: a confidence sequence, so that the intervals of all looks hold at once.
    """

    at: datetime
    customers: int = Field(ge=2)
    mean: float
    low: float
    high: float


class ABTestReport(_Value):
    """What live traffic says of a treatment against the control, with every check that was made.

    The verdict follows from the checks and cannot be set: a failed check stops, an inconclusive one keeps running, else it ships.
    sequence: looks in order of time, the last one the present; empty before there is anything to compare.
    crossovers: customers who met both variants, counted where they began.
    """

    test_id: str = Field(min_length=1)
    agent: str
    started_at: datetime
    at: datetime
    control: Arm
    treatment: Arm
    metric: Literal["success_rate"] = "success_rate"
    sequence: tuple[Look, ...] = ()
    crossovers: int = Field(default=0, ge=0)
    checks: tuple[Check, ...] = Field(min_length=1)
    criteria: dict[str, JsonValue]

    @property
    def verdict(self) -> LiveVerdict:
        outcomes = {check.outcome for check in self.checks}
        if "failed" in outcomes:
            return "stop"
        return "keep_running" if "inconclusive" in outcomes else "ship"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every check in words, those that stand against shipping first."""
        return _in_words(self.checks)


def _in_words(checks: Sequence[Check]) -> tuple[str, ...]:
    weight = {"failed": 0, "inconclusive": 1, "passed": 2}
    ordered = sorted(checks, key=lambda check: weight[check.outcome])
    return tuple(f"{check.outcome}: {check.statement}" for check in ordered)
