"""How far an environment can be trusted, measured on traces it was not made from, and what was concluded."""

import hashlib
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, JsonValue

from agentgym.environments.recorded_answers import Basis
from agentgym.scenarios.fidelity.figures import Figure, Value
from agentgym.statistics import Estimate

ALL_TOOLS = "all tools"
CUSTOMER = "the customer"
WHOLE = "the whole"
# A tool may have any name, so what a check is about is told by its part.
Part = Literal["tool", "customer", "whole"]
CheckOutcome = Literal["passed", "failed", "not_measured"]
Verdict = Literal["passed", "failed", "not_measured"]
Agent = Literal["recorded", "departing"]
Judgement = Literal["outcome", "satisfaction"]


class BasisFidelity(Value):
    """The held-out calls answered on one basis. share: of all calls.   result_match, field_match: within them, as in `ToolFidelity`."""

    share: Figure
    result_match: Figure
    field_match: Figure


class ToolFidelity(Value):
    """How one tool answers held-out calls; every figure a proportion, but `gain`, `replay_gap` and `error_gap`, which are differences.

    result_match: calls with the recorded result, however it is written.   field_match: Dice's share of fields in common.
    gain: share of the attainable recorded fields in the answer, less that in a training answer drawn at random (`chance`).
    replay_gap: the same, less that in the training answers to the very call, where there are some.
    recall: training calls answered as recorded.   error_gap: the environment's error rate less the record's, on calls it claims to know.
    accepted: calls whose arguments the schema known from training takes; known: those whose entities training has seen; covered: both.
    effects: what a read shows of what changed after this tool was called.
    """

    tool: str
    training_calls: int
    calls: int
    result_match: Figure
    field_match: Figure
    bases: dict[Basis, BasisFidelity]
    gain: Figure
    chance: Figure
    replay_gap: Figure
    recall: Figure
    recorded_errors: Figure
    errors: Figure
    error_gap: Figure
    accepted: Figure
    known: Figure
    covered: Figure
    effects: Figure


class CustomerFidelity(Value):
    """How the simulated customer talks with an agent: the recorded one, or one that departs and asks for the facts in another order.

    length_ratio, length_difference: the customer's turns, simulated against recorded.   order: Kendall's tau-b of the order in which facts
    are told, -1 to 1.   told: of the facts the recorded customer told, the share that the simulated one tells as well.
    answered: of the departing agent's questions for a fact the customer knows and has not told, the share answered at once.
    """

    agent: Agent
    length_ratio: Figure
    length_difference: Figure
    order: Figure
    told: Figure
    answered: Figure


class RankFidelity(Value):
    """Whether the environment pays recorded agents in the order in which the log judges them.

    within: Kendall's tau-b counting only pairs of conversations of one customer, which no difference between customers can feign.
    reward_of_good, reward_of_bad: means of the environment's reward, by outcome; None where there are none, or scores are asked.
    """

    judgement: Judgement
    kendall: Figure
    spearman: Figure
    within: Figure
    reward_of_good: float | None = None
    reward_of_bad: float | None = None


class FidelityCheck(Value):
    """One question that was asked. subject: the tool, or `the customer`, or `the whole`.   repair: what to do, where it failed."""

    name: str
    part: Part
    subject: str
    outcome: CheckOutcome
    statement: str
    repair: str = ""
    estimate: Estimate | None = None

    @property
    def tells_of_answers(self) -> bool:
        """Whether it shows that a tool answers well; that training knows its schema, and its own answers again, says nothing of others."""
        return self.part == "tool" and self.outcome == "passed" and self.name not in ("arguments", "recall")


class FidelityReport(Value):
    """The verdict follows from the checks and cannot be set: one that failed fails; it passes when a tool's answers passed some and none
    failed.

    What was not measured stands neither for nor against, and customers alone say nothing of what tools answer.   bar: what was asked.
    """

    scenario: str
    training_conversations: int
    held_out_conversations: int
    tools: tuple[ToolFidelity, ...]
    all_tools: ToolFidelity
    customers: tuple[CustomerFidelity, ...]
    ranks: tuple[RankFidelity, ...]
    checks: tuple[FidelityCheck, ...] = Field(min_length=1)
    bar: dict[str, JsonValue]

    @property
    def verdict(self) -> Verdict:
        """Not measured where nothing tells how a tool answers what it was not made from."""
        if any(check.outcome == "failed" for check in self.checks):
            return "failed"
        return "passed" if any(check.tells_of_answers for check in self.checks) else "not_measured"

    @property
    def failed_checks(self) -> tuple[FidelityCheck, ...]:
        return tuple(check for check in self.checks if check.outcome == "failed")

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every check in words, those that failed first."""
        return tuple(f"{check.outcome.replace('_', ' ')}: {check.statement}" for check in by_weight(self.checks))

    @property
    def refusal(self) -> str:
        """Why nothing may be trained here, and what to do."""
        told = " ".join(f"{check.statement} {check.repair}" for check in self.failed_checks[:3])
        more = f" {len(self.failed_checks) - 3} more checks failed." if len(self.failed_checks) > 3 else ""
        return (
            f"Training needs an environment that answers as the log does; {self.scenario!r} fails {len(self.failed_checks)} of "
            f"{len(self.checks)} checks. {told}{more} Or waive it, with a reason."
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the content, the same for equal reports."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def by_weight(checks: Sequence[FidelityCheck]) -> list[FidelityCheck]:
    """Failed ones first, then what passed, then what was not measured; otherwise in their order."""
    weight = {"failed": 0, "passed": 1, "not_measured": 2}
    return sorted(checks, key=lambda check: weight[check.outcome])
