"""An A/B test: which versions are compared, how the traffic is split, and what has to be shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentgym.episode import Outcome
from agentgym.verdicts import ABTestReport, Subject

Share = Annotated[float, Field(ge=0, le=1)]


class ABTestCriteria(BaseModel):
    """What a treatment must show.

    alpha: chance that any look at all shows a difference that is not there.   min_customers: with an outcome, in each arm, before
    anything is concluded.   tightest_at: customers in both arms together, if dealt evenly, where the confidence sequence is tightest.
    minimal_gain: shipping needs more than this, with the whole interval.   gain_worth_finding: the test stops when even this much is
    ruled out.   max_customers: the test stops undecided at so many in both arms; None for no end.
    sample_ratio_alpha, missing_outcomes_alpha: below such a p-value the split, or what is known of its arms, is not as dealt, and
    nothing is concluded.   max_failure_share: of the requests to the treatment; above it nothing ships, and beyond chance the test stops.
    successes: outcomes that count as wanted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_customers: int = Field(default=100, ge=2)
    tightest_at: int = Field(default=600, ge=2)
    minimal_gain: float = Field(default=0.0, ge=0, lt=1)
    gain_worth_finding: float = Field(default=0.01, ge=0, lt=1)
    max_customers: int | None = Field(default=None, ge=2)
    sample_ratio_alpha: float = Field(default=0.001, gt=0, lt=0.5)
    missing_outcomes_alpha: float = Field(default=0.001, gt=0, lt=0.5)
    max_failure_share: Share = 0.02
    successes: tuple[Outcome, ...] = Field(default=(Outcome.RESOLVED, Outcome.ESCALATED), min_length=1)


class ABTest(BaseModel):
    """A test from its start to its end.

    control, treatment: named as the split names them, `1` for version 1, with the digest of what they serve.
    salt: deals the customers of this test independently of any other's.   weights: shares of all variants now.
    report: what ended it; None while it runs, or when it was called off.   open_conversations: what its end means for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    test_id: str = Field(min_length=1, max_length=128)
    agent: str
    control: Subject
    treatment: Subject
    salt: str
    weights: dict[str, Share]
    criteria: ABTestCriteria = ABTestCriteria()
    started_at: datetime
    ended_at: datetime | None = None
    report: ABTestReport | None = None
    open_conversations: Literal["stay", "move"] = "stay"

    @property
    def is_running(self) -> bool:
        return self.ended_at is None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One conversation that was served while a test ran.

    unit: what the split deals, the customer, else the conversation.   weights: shares of all variants when it was dealt.
    requests: answers asked for, `failures` of which were not given.   outcome, outcome_at: None while nobody told.
    """

    conversation_id: str
    unit: str
    variant: str
    weights: Mapping[str, float]
    started_at: datetime
    requests: int
    failures: int
    outcome: Outcome | None
    outcome_at: datetime | None
