"""Estimates from clustered evidence, with intervals that stay honest in small samples.

Episodes of one customer resemble each other, so every interval here treats the cluster (the customer, else the conversation) as the unit
that was drawn. What is undefined raises InsufficientData: there is no mean of nothing and no interval from one cluster.
Not covered: looks at growing data; those are in `agentgym.sequential`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, inf, sqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import stats

from agentgym.errors import InsufficientData, InvalidInput

Vector = NDArray[np.float64]
Numbers = Sequence[float] | Vector
Interval = tuple[float, float]


class Estimate(BaseModel):
    """A mean with its interval.

    standard_error: 0 when all clusters agree; the interval is not degenerate even then.   clusters: those that count for the mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean: float
    standard_error: float = Field(ge=0)
    low: float
    high: float
    clusters: int = Field(ge=2)
    confidence: float = Field(default=0.95, gt=0, lt=1)

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Ratios:
    """What is divided by what, row by row; the ratio meant is that of the sums. Shape (rows,) each."""

    numerators: Numbers
    denominators: Numbers


def mean_estimate(values: Numbers, clusters: Sequence[str], *, bounds: Interval = (-inf, inf), confidence: float = 0.95) -> Estimate:
    """The mean of `values`, one cluster label each, with Student's interval on clusters - 1 degrees of freedom.

    The standard error is the linearised one of a mean over clusters of unequal size (Cochran 1977, §6.4), the interval cut to `bounds`.
    Equal values say nothing about the spread: there the interval is that of `_constant_interval`.
    """
    return _estimate(_totals(Ratios(values, np.ones(len(values))), clusters), bounds, confidence)


def ratio_estimate(numerators: Numbers, denominators: Numbers, clusters: Sequence[str], *, confidence: float = 0.95) -> Estimate:
    """A share: sum of numerators ÷ sum of denominators, each row with 0 ≤ numerator ≤ denominator; rows with denominator 0 say nothing.

    The interval is Clopper and Pearson's on the effective sample size p(1 - p) / SE², corrected for the degrees of freedom (Korn and
    Graham 1998, "Confidence intervals for proportions with small expected number of positive counts"): it stays inside 0 to 1
    and covers at least as often as it says near both ends, where Student's does not. With no failure, or nothing else, every cluster
    counts as one trial. Departure: no mixed record gets a tighter bound than a flawless one over the same clusters.
    """
    totals = _totals(Ratios(numerators, denominators), clusters)
    if np.any(totals.numerators < 0) or np.any(totals.numerators > totals.denominators + 1e-9):
        raise InvalidInput("A share needs 0 ≤ numerator ≤ denominator in every row; at least one row breaks this. Use mean_estimate.")
    count, error = len(totals.numerators), totals.standard_error()
    low, high = _share_interval(totals.ratio, error, trials=float(totals.denominators.sum()), clusters=count, confidence=confidence)
    return Estimate(mean=totals.ratio, standard_error=error, low=low, high=high, clusters=count, confidence=confidence)


def paired_difference(
    champion: Numbers,
    challenger: Numbers,
    clusters: Sequence[str],
    *,
    bounds: Interval = (-inf, inf),
    confidence: float = 0.95,
) -> Estimate:
    """Challenger minus champion over the same cases in the same order; `bounds` are those of one value, not of the difference."""
    old, new = Ratios(champion, np.ones(len(champion))), Ratios(challenger, np.ones(len(challenger)))
    return paired_ratio_difference(old, new, clusters, bounds=bounds, confidence=confidence)


def paired_ratio_difference(
    champion: Ratios, challenger: Ratios, clusters: Sequence[str], *, bounds: Interval = (0.0, 1.0), confidence: float = 0.95
) -> Estimate:
    """Challenger's ratio of sums minus the champion's, over the same cases in the same order.

    Both ratios are linearised cluster by cluster and subtracted before the variance is taken (delta method; Deng, Knoblich and Lu 2018,
    "Applying the delta method in metric analytics"), so that what makes a case hard for both cancels out.
    """
    old, new = _paired_totals(champion, challenger, clusters)
    mean = new.ratio - old.ratio
    influence = new.influence() - old.influence()
    scale = max(np.abs(old.values()).max(), np.abs(new.values()).max())
    widest = (bounds[0] - bounds[1], bounds[1] - bounds[0]) if np.isfinite(bounds).all() else (mean - scale, mean + scale)
    count, error = len(influence), _standard_error(influence)
    low, high = _mean_interval(mean, error, count, widest, confidence)
    return Estimate(mean=mean, standard_error=error, low=low, high=high, clusters=count, confidence=confidence)


def pass_hat(successes: int, trials: int, k: int) -> float:
    """Chance that k fresh trials of a case all succeed, estimated without bias from `trials` of them: C(successes, k) / C(trials, k).

    Yao et al. 2024 (τ-bench), pass^k.
    """
    if not 1 <= k <= trials:
        raise InsufficientData(f"pass^{k} needs at least {k} trials of each case, and k of at least 1; got {trials}. Play more seeds.")
    return comb(successes, k) / comb(trials, k)


@dataclass(frozen=True)
class _Totals:
    """Sums per cluster, shape (clusters,) each."""

    numerators: Vector
    denominators: Vector

    @property
    def ratio(self) -> float:
        return float(self.numerators.sum() / self.denominators.sum())

    def influence(self) -> Vector:
        """What each cluster adds to the error of the ratio, to first order, shape (clusters,)."""
        return np.asarray((self.numerators - self.ratio * self.denominators) / self.denominators.sum())

    def standard_error(self) -> float:
        return _standard_error(self.influence())

    def values(self) -> Vector:
        """The ratio inside each cluster that has one."""
        informative = self.denominators > 0
        return np.asarray(self.numerators[informative] / self.denominators[informative])


def _totals(ratios: Ratios, clusters: Sequence[str]) -> _Totals:
    above, below = _columns(len(clusters), ratios)
    (totals,) = _sums_by_cluster([(above, below)], below > 0, clusters)
    return totals


def _paired_totals(champion: Ratios, challenger: Ratios, clusters: Sequence[str]) -> tuple[_Totals, _Totals]:
    old, new = _columns(len(clusters), champion), _columns(len(clusters), challenger)
    totals = _sums_by_cluster([old, new], (old[1] > 0) | (new[1] > 0), clusters)
    if not all(side.denominators.any() for side in totals):
        raise InsufficientData("A difference needs a ratio on both sides; one has a denominator of 0 in every case. Leave this metric out.")
    return totals[0], totals[1]


def _sums_by_cluster(pairs: Sequence[tuple[Vector, Vector]], informative: NDArray[np.bool_], clusters: Sequence[str]) -> list[_Totals]:
    labels, index = np.unique(np.asarray(clusters, dtype=str)[informative], return_inverse=True)
    if len(labels) < 2:
        raise InsufficientData(
            f"An interval needs at least 2 clusters; got {len(labels)} in {int(informative.sum())} rows that count. "
            "Bring conversations of more customers."
        )

    def sums(column: Vector) -> Vector:
        return np.asarray(np.bincount(index, column[informative], minlength=len(labels)), dtype=float)

    return [_Totals(sums(above), sums(below)) for above, below in pairs]


def _columns(rows: int, ratios: Ratios) -> tuple[Vector, Vector]:
    above, below = np.asarray(ratios.numerators, dtype=float), np.asarray(ratios.denominators, dtype=float)
    if not len(above) == len(below) == rows:
        raise InvalidInput(f"Every value needs exactly one cluster; got {len(above)} values for {rows} clusters. Align the rows.")
    if not (np.isfinite(above).all() and np.isfinite(below).all()):
        raise InvalidInput("Every value must be finite; at least one is NaN or infinite. Count a crash as a failure, not as a value.")
    return above, below


def _estimate(totals: _Totals, bounds: Interval, confidence: float) -> Estimate:
    mean, count, error = totals.ratio, len(totals.numerators), totals.standard_error()
    widest = bounds if np.isfinite(bounds).all() else (max(bounds[0], mean - abs(mean)), min(bounds[1], mean + abs(mean)))
    low, high = _mean_interval(mean, error, count, widest, confidence)
    low, high = max(low, min(bounds[0], mean)), min(high, max(bounds[1], mean))
    return Estimate(mean=mean, standard_error=error, low=low, high=high, clusters=count, confidence=confidence)


def _mean_interval(mean: float, error: float, clusters: int, widest: Interval, confidence: float) -> Interval:
    if error <= 1e-12 * max(1.0, abs(mean)):
        return _constant_interval(mean, clusters, widest, confidence)
    margin = float(stats.t.ppf((1 + confidence) / 2, clusters - 1)) * error
    return mean - margin, mean + margin


def _constant_interval(mean: float, clusters: int, widest: Interval, confidence: float) -> Interval:
    """Where the mean can be when all clusters agree: a share of the unseen ones may lie at either end of `widest`.

    Without finite bounds the ends are taken one magnitude away from the value; that is a convention, not a theorem.
    """
    share = _unseen_share(clusters, confidence)
    return mean - share * (mean - widest[0]), mean + share * (widest[1] - mean)


def _unseen_share(clusters: int, confidence: float) -> float:
    """The largest share of differing clusters that would still hide from this many with probability (1 - confidence) / 2.

    Clopper and Pearson 1934 with no success; the "rule of three" is its approximation for one side.
    """
    return float(1 - ((1 - confidence) / 2) ** (1 / clusters))


def _share_interval(share: float, error: float, *, trials: float, clusters: int, confidence: float) -> Interval:
    hidden = _unseen_share(clusters, confidence)
    if error <= 1e-12:
        return share - hidden * share, share + hidden * (1 - share)
    upper_tail = (1 + confidence) / 2
    effective = min(trials, share * (1 - share) / error**2)
    effective *= (stats.t.ppf(upper_tail, max(trials, 2.0) - 1) / stats.t.ppf(upper_tail, clusters - 1)) ** 2
    right, wrong = effective * share, effective * (1 - share)
    low = float(stats.beta.ppf(1 - upper_tail, right, wrong + 1))
    high = float(stats.beta.ppf(upper_tail, right + 1, wrong))
    return min(low, 1 - hidden), max(high, hidden)


def _standard_error(influence: Vector) -> float:
    count = len(influence)
    return sqrt(count / (count - 1) * float(np.square(influence).sum()))
