"""The offline gate: whether a challenger is proven better than the champion on the same cases, and worse nowhere that matters."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.evaluation.metrics import METRICS, metric_difference, metric_named
from agentgym.evaluation.regressions import RegressionReport, regression_checks
from agentgym.statistics import Estimate
from agentgym.verdicts import Check, CheckOutcome, EvaluationReport, Evidence, PromotionDecision

Margin = Annotated[float, Field(ge=0)]


class PromotionCriteria(BaseModel):
    """What a challenger must show.

    primary_metric: must be better by more than `minimal_gain`, with the lower end of the interval.
    guardrails: by how much each of these may be worse, in its own unit, ruled out with the lower end of the interval.
    slice_margin: the same for the primary metric in every kind of case. A kind with fewer than `min_slice_clusters` clusters cannot rule
    out anything (3 / 30 = 0.1, the rule of three); there the mean itself may not be worse by more than the margin.
    floors: what the lower end of the challenger's own interval must reach where there is no champion.
    gain_confidence, margin_confidence: of the two-sided intervals; 0.9 tests a margin one-sided at 5 %.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    primary_metric: str
    minimal_gain: float = Field(default=0.0, ge=0)
    guardrails: dict[str, Margin] = {}
    slice_margin: Margin = 0.1
    floors: dict[str, float] = Field(min_length=1)
    max_failure_share: float = Field(default=0.02, ge=0, lt=1)
    min_clusters: int = Field(default=20, ge=2)
    min_slice_clusters: int = Field(default=30, ge=2)
    gain_confidence: float = Field(default=0.95, ge=0.8, lt=1)
    margin_confidence: float = Field(default=0.9, ge=0.8, lt=1)

    @model_validator(mode="after")
    def _know_the_metrics(self) -> Self:
        unknown = sorted({self.primary_metric, *self.guardrails, *self.floors} - METRICS.keys())
        if unknown:
            raise ValueError(f"Criteria must name known metrics; {unknown} are not. Known: {', '.join(METRICS)}.")
        return self

    @classmethod
    def for_evidence(cls, evidence: Evidence) -> Self:
        """Sensible criteria: tool reliability in play, the exact call on recorded dialogues."""
        if evidence == "play":
            margins = {"success_rate": 0.05, "satisfaction_score": 0.25, "agent_tokens": 50.0, "simulated_seconds": 5.0}
            return cls(primary_metric="tool_reliability", guardrails=margins, floors={"tool_reliability": 0.5})
        return cls(
            primary_metric="exact_call",
            guardrails={"reliability": 0.05, "precision": 0.05},
            floors={"exact_call": 0.2, "precision": 0.5},
        )


def decide_promotion(
    challenger: EvaluationReport,
    champion: EvaluationReport | None,
    criteria: PromotionCriteria,
    *,
    regressions: RegressionReport | None = None,
    champion_regressions: RegressionReport | None = None,
) -> PromotionDecision:
    """The decision on two reports, with every check that could be made, also those that passed.

    champion: None on the first turn of the loop; then the floors are asked. Reports on different cases are refused without looking
    further. Raises InvalidInput when the reports rest on different evidence: they have no metric in common.
    regressions, champion_regressions: of the challenger and the champion; None where the agent has no regression cases.
    """
    if champion is not None and champion.evidence != challenger.evidence:
        raise InvalidInput(
            f"Champion and challenger must rest on the same evidence; got {champion.evidence!r} and {challenger.evidence!r}. "
            "Evaluate the champion again on the challenger's cases."
        )
    return PromotionDecision(
        evidence=challenger.evidence,
        primary_metric=criteria.primary_metric,
        case_set_digest=challenger.case_set_digest,
        challenger=challenger.subject,
        champion=champion.subject if champion else None,
        challenger_report_digest=challenger.digest,
        champion_report_digest=champion.digest if champion else None,
        checks=(*_checks(challenger, champion, criteria), *regression_checks(regressions, champion_regressions)),
        criteria=criteria.model_dump(mode="json"),
    )


def _checks(challenger: EvaluationReport, champion: EvaluationReport | None, criteria: PromotionCriteria) -> Iterator[Check]:
    yield _check_failures(challenger, criteria)
    if champion is None:
        yield from (_check_floor(challenger, name, floor) for name, floor in criteria.floors.items())
        return
    same_cases = _check_cases(challenger, champion)
    yield same_cases
    if same_cases.outcome == "failed":
        return
    yield _check_gain(challenger, champion, criteria)
    for name, margin in criteria.guardrails.items():
        yield _check_guardrail(challenger, champion, name, margin, criteria.margin_confidence)
    for kind in sorted(champion.slices.keys() | challenger.slices.keys()):
        yield _check_slice(challenger, champion, kind, criteria)


def _check_failures(report: EvaluationReport, criteria: PromotionCriteria) -> Check:
    outcome: CheckOutcome = "passed" if report.failure_share <= criteria.max_failure_share else "failed"
    statement = (
        f"{len(report.failures)} of {report.episodes} episodes crashed ({report.failure_share:.1%}); "
        f"at most {criteria.max_failure_share:.1%} may."
    )
    return Check(name="failures", outcome=outcome, statement=statement)


def _check_floor(report: EvaluationReport, name: str, floor: float) -> Check:
    label = f"floor:{name}"
    estimate = report.estimates.get(name)
    if estimate is None:
        statement = f"There is no champion, so {name} must reach {floor:g}; it is undefined for {report.subject.name}."
        return Check(name=label, outcome="failed", statement=statement)
    outcome: CheckOutcome = "passed" if estimate.low >= floor else "failed" if estimate.high < floor else "inconclusive"
    statement = f"There is no champion, so {name} must reach {floor:g} with its whole interval; it is {estimate}."
    return Check(name=label, outcome=outcome, statement=statement)


def _check_cases(challenger: EvaluationReport, champion: EvaluationReport) -> Check:
    def conditions(report: EvaluationReport) -> tuple[str, int, int]:
        return report.case_set_digest, report.seed, report.trials

    if conditions(challenger) == conditions(champion):
        statement = f"Both were evaluated on the same {challenger.episodes} episodes (case set {challenger.case_set_digest[:12]})."
        return Check(name="cases", outcome="passed", statement=statement)
    old, new = ("case set {:.12}, seed {}, trials {}".format(*conditions(report)) for report in (champion, challenger))
    statement = f"Champion and challenger must cover the same cases; the champion's are {old}, the challenger's {new}. Evaluate both again."
    return Check(name="cases", outcome="failed", statement=statement)


def _check_gain(challenger: EvaluationReport, champion: EvaluationReport, criteria: PromotionCriteria) -> Check:
    name, label = criteria.primary_metric, f"gain:{criteria.primary_metric}"
    try:
        gain = _improvement(champion, challenger, name, None, criteria.gain_confidence)
    except InsufficientData as error:
        return Check(name=label, outcome="inconclusive", statement=f"{name} cannot be compared: {error}")
    sides = f"{_mean(champion, name)} to {_mean(challenger, name)}"
    if gain.clusters < criteria.min_clusters:
        statement = f"{name} went from {sides}, but on {gain.clusters} customers or conversations; at least {criteria.min_clusters} decide."
        return Check(name=label, outcome="inconclusive", statement=statement, difference=gain)
    outcome: CheckOutcome = (
        "passed" if gain.low > criteria.minimal_gain else "failed" if gain.high <= criteria.minimal_gain else "inconclusive"
    )
    statement = (
        f"{name} went from {sides}: a gain of {_signed(gain)}; more than {criteria.minimal_gain:g} is needed, with the whole interval."
    )
    return Check(name=label, outcome=outcome, statement=statement, difference=gain)


def _check_guardrail(challenger: EvaluationReport, champion: EvaluationReport, name: str, margin: float, confidence: float) -> Check:
    label = f"guardrail:{name}"
    if name not in champion.estimates:
        return Check(name=label, outcome="passed", statement=f"{name} is undefined for the champion, so it cannot get worse.")
    if name not in challenger.estimates:
        return Check(
            name=label, outcome="failed", statement=f"{name} is undefined for the challenger; the champion's is {_mean(champion, name)}."
        )
    try:
        change = _improvement(champion, challenger, name, None, confidence)
    except InsufficientData as error:
        return Check(name=label, outcome="inconclusive", statement=f"{name} cannot be compared: {error}")
    return Check(name=label, outcome=_within_margin(change, margin), statement=_margin_statement(name, change, margin), difference=change)


def _check_slice(challenger: EvaluationReport, champion: EvaluationReport, kind: str, criteria: PromotionCriteria) -> Check:
    name, label, margin = criteria.primary_metric, f"slice:{kind}", criteria.slice_margin
    try:
        change = _improvement(champion, challenger, name, kind, criteria.margin_confidence)
    except InsufficientData as error:
        return Check(name=label, outcome="passed", statement=f"{kind}: too few cases to compare {name}. {error}")
    if change.clusters >= criteria.min_slice_clusters:
        statement = _margin_statement(f"{kind}: {name}", change, margin)
        return Check(name=label, outcome=_within_margin(change, margin), statement=statement, difference=change)
    outcome: CheckOutcome = "passed" if change.mean >= -margin else "failed"
    statement = (
        f"{kind}: {name}: change {_signed(change)} (positive is better) on only {change.clusters} customers or conversations; "
        f"the mean itself may be worse by at most {margin:g}."
    )
    return Check(name=label, outcome=outcome, statement=statement, difference=change)


def _improvement(champion: EvaluationReport, challenger: EvaluationReport, name: str, kind: str | None, confidence: float) -> Estimate:
    """The difference turned so that more is better, whatever the metric counts."""
    difference = metric_difference(champion, challenger, name, kind=kind, confidence=confidence)
    if not metric_named(name).is_lower_better:
        return difference
    return difference.model_copy(update={"mean": 0.0 - difference.mean, "low": 0.0 - difference.high, "high": 0.0 - difference.low})


def _within_margin(change: Estimate, margin: float) -> CheckOutcome:
    if change.low >= -margin:
        return "passed"
    return "failed" if change.high < 0 or change.mean < -margin else "inconclusive"


def _margin_statement(what: str, change: Estimate, margin: float) -> str:
    return f"{what}: change {_signed(change)} (positive is better); worse by more than {margin:g} must be ruled out."


def _mean(report: EvaluationReport, name: str) -> str:
    estimate = report.estimates.get(name)
    return "undefined" if estimate is None else f"{estimate.mean:.3f}"


def _signed(change: Estimate) -> str:
    return f"{change.mean:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
