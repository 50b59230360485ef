"""The metrics of an evaluation: what each one is, and how rows of cases become estimates and differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from agentgym.errors import InsufficientData
from agentgym.statistics import Estimate, Interval, Ratios, mean_estimate, paired_ratio_difference, ratio_estimate
from agentgym.verdicts import CaseRow, EvaluationReport


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a metric measures.

    is_share: a proportion of countable things.   bounds: of one case's value.   is_lower_better: fewer is better, as with tokens.
    """

    name: str
    is_share: bool = True
    bounds: Interval = (0.0, 1.0)
    is_lower_better: bool = False


_PLAY = (
    Metric(name="tool_reliability"),
    Metric(name="tool_choice"),
    Metric(name="success_rate"),
    Metric(name="agent_tokens", is_share=False, bounds=(0.0, inf), is_lower_better=True),
    Metric(name="simulated_seconds", is_share=False, bounds=(0.0, inf), is_lower_better=True),
    Metric(name="cost_reduction", is_share=False, bounds=(-inf, 1.0)),
    Metric(name="time_saving", is_share=False, bounds=(-inf, 1.0)),
    Metric(name="satisfaction_score", is_share=False, bounds=(1.0, 5.0)),
    Metric(name="reward", is_share=False, bounds=(-inf, inf)),
    Metric(name="simulator_errors", is_share=False, bounds=(0.0, inf), is_lower_better=True),
)
_NEXT_CALL = (Metric(name="reliability"), Metric(name="precision"), Metric(name="exact_call"))
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _PLAY + _NEXT_CALL}


def metric_named(name: str) -> Metric:
    """The metric of this name; one that is not listed, such as `pass^2`, is a share."""
    return METRICS.get(name) or Metric(name=name)


def estimate_metrics(rows: Sequence[CaseRow]) -> dict[str, Estimate]:
    """An estimate of every metric the rows have, in the order of `METRICS`; those undefined on so few rows are left out."""
    present = {name for row in rows for name in row.measures}
    names = [name for name in METRICS if name in present] + sorted(present - METRICS.keys())
    estimates = ((name, _estimate(name, rows)) for name in names)
    return {name: estimate for name, estimate in estimates if estimate is not None}


def estimate_slices(rows: Sequence[CaseRow]) -> dict[str, dict[str, Estimate]]:
    """The estimates of each kind of case, by kind."""
    kinds = sorted({row.kind for row in rows})
    return {kind: estimate_metrics([row for row in rows if row.kind == kind]) for kind in kinds}


def metric_difference(
    champion: EvaluationReport, challenger: EvaluationReport, name: str, *, kind: str | None = None, confidence: float
) -> Estimate:
    """Challenger minus champion in one metric, over the cases both finished; of one kind, or of all when `kind` is None.

    Raises InsufficientData when fewer than two clusters have the metric on both sides.
    """
    old, new = (_rows_by_key(report.rows, kind) for report in (champion, challenger))
    shared = sorted(old.keys() & new.keys())
    return paired_ratio_difference(
        _ratios((old[key] for key in shared), name),
        _ratios((new[key] for key in shared), name),
        [old[key].cluster_id for key in shared],
        bounds=metric_named(name).bounds,
        confidence=confidence,
    )


def _estimate(name: str, rows: Sequence[CaseRow]) -> Estimate | None:
    metric = metric_named(name)
    counted = [row for row in rows if name in row.measures]
    ratios, clusters = _ratios(counted, name), [row.cluster_id for row in counted]
    try:
        if metric.is_share:
            return ratio_estimate(ratios.numerators, ratios.denominators, clusters)
        return mean_estimate(ratios.numerators, clusters, bounds=metric.bounds)
    except InsufficientData:
        return None


def _rows_by_key(rows: Iterable[CaseRow], kind: str | None) -> dict[tuple[str, str, int], CaseRow]:
    return {(row.case_id, row.kind, row.trial): row for row in rows if kind in (None, row.kind)}


def _ratios(rows: Iterable[CaseRow], name: str) -> Ratios:
    measures = [row.measures.get(name) for row in rows]
    return Ratios(
        [measure.numerator if measure else 0.0 for measure in measures],
        [measure.denominator if measure else 0.0 for measure in measures],
    )
