"""Two success rates compared while outcomes still arrive, with intervals that hold at every look at once.

The unit is the customer, as in `agentgym.statistics`: one who returns adds less than a new one. Undefined raises InsufficientData.
Not covered: an effect that changes in time is averaged over it; a metric that is not a rate.
"""

from dataclasses import dataclass
from math import hypot, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agentgym.errors import InsufficientData

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

_SMALLEST_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Conversations in columns, shape (rows,) each.

    customers: numbered from 0, each of one arm.   strata: numbered from 0; only rows of the same stratum are compared.
    successes: what the rate counts.
    """

    customers: Integers
    is_treatment: Booleans
    strata: Integers
    successes: Booleans

    def take(self, rows: slice | Integers | Booleans) -> "Trials":
        """These rows, in this order."""
        return Trials(
            customers=self.customers[rows],
            is_treatment=self.is_treatment[rows],
            strata=self.strata[rows],
            successes=self.successes[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two success rates, treatment minus control, and how surely it is known.

    variance: of `mean`, as the customers show it; 0 where they all agree.   pseudo_variance: what one more success and one more failure
    in each arm would add to it.   control_customers, treatment_customers: those who were compared.   even_customers: how many customers,
    dealt half and half, would tell as much; it is the clock of the confidence sequence.
    """

    mean: float
    variance: float
    pseudo_variance: float
    control_customers: int
    treatment_customers: int
    even_customers: float

    @property
    def customers(self) -> int:
        return self.control_customers + self.treatment_customers

    def standard_error(self, critical_value: float) -> float:
        """What to multiply with `critical_value` for the half width of an interval; never 0.

        As if each arm had z² / 4 more successes and as many more failures, for the z of the interval: Agresti and Caffo 2000, "Simple and
        effective confidence intervals for proportions and differences", where z ≈ 2 makes it one. Departure: the mean is left as it is.
        """
        return sqrt(self.variance + critical_value**2 / 4 * self.pseudo_variance)

    def p_value(self) -> float:
        """Of no difference, asked once: the level at which the interval of `standard_error` would just touch 0."""
        square = 2 * (hypot(self.variance, sqrt(self.pseudo_variance) * self.mean) - self.variance) / self.pseudo_variance
        return float(stats.chi2.sf(square, 1))


def compare_rates(trials: Trials) -> Comparison:
    """The difference within strata, averaged over them with the weights n_control · n_treatment / (n_control + n_treatment) in customers.

    A rate is a ratio of sums, linearised customer by customer, also across strata (delta method; Deng, Knoblich and Lu 2018).
    The weights are those of Mantel and Haenszel 1959: nearly the best for an effect that is the same everywhere, and a stratum in which
    one arm has hardly anybody gets hardly any. A stratum without 2 customers in each arm says nothing and is left out.
    Raises InsufficientData when that leaves none.
    """
    control, treatment = _arms(trials)
    is_comparable = (control.customers >= 2) & (treatment.customers >= 2)
    if not is_comparable.any():
        raise InsufficientData(
            "A difference needs 2 customers with an outcome in each arm, under the same split; "
            f"got {int(control.customers.sum())} and {int(treatment.customers.sum())}, nowhere 2 of both. Wait for more outcomes."
        )
    control, treatment = control.within(is_comparable), treatment.within(is_comparable)
    pairs = control.customers * treatment.customers / (control.customers + treatment.customers)
    weights = pairs / pairs.sum()
    return Comparison(
        mean=float(weights @ (treatment.rates - control.rates)),
        variance=control.variance(weights) + treatment.variance(weights),
        pseudo_variance=control.pseudo_variance(weights) + treatment.pseudo_variance(weights),
        control_customers=control.present,
        treatment_customers=treatment.present,
        even_customers=4 * float(pairs.sum()),
    )


def sequence_interval(comparison: Comparison, *, alpha: float, tightest_at: int) -> tuple[float, float]:
    """The confidence sequence at this look: with chance 1 - alpha the true difference is inside at all looks together.

    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences", theorem
    2.2, with N the customers as if dealt evenly and σ² = N · variance. It is asymptotic: look first when each arm has about 100 customers.
    """
    critical_value = mixture_boundary(comparison.even_customers, alpha=alpha, tightest_at=tightest_at)
    margin = critical_value * comparison.standard_error(critical_value)
    return max(-1.0, comparison.mean - margin), min(1.0, comparison.mean + margin)


def mixture_boundary(customers: float, *, alpha: float, tightest_at: int) -> float:
    """How many standard errors the confidence sequence is wide to either side; about 3 at `tightest_at` for an alpha of 0.05.

    √(2 (x + 1) / x · log(√(x + 1) / α)) with x = N ρ² is theorem 2.2's margin over σ / √N, and ρ² = (-2 log α + log(1 - 2 log α)) / n₀
    makes it tightest near n₀ = `tightest_at` (same paper, its appendix on the choice of ρ).
    """
    spread = customers * (-2 * log(alpha) + log(1 - 2 * log(alpha))) / tightest_at
    return sqrt(2 * (spread + 1) / spread * log(sqrt(spread + 1) / alpha))


def sample_ratio_p_value(is_treatment: Booleans, chances: Vector) -> float:
    """Of a split as even or uneven as it was dealt: customers seen in the treatment against the sum of their chances to be there.

    is_treatment, chances: by customer, shape (customers,).   Pearson's χ² on two arms (Fabijan et al. 2019, "Diagnosing sample ratio
    mismatch"), with the variance Σ p (1 - p), which is Pearson's where p never changed.
    Raises InsufficientData while fewer than 5 customers are expected in either arm.
    """
    expected = float(chances.sum())
    smaller = min(expected, len(chances) - expected)
    if smaller < _SMALLEST_EXPECTED:
        raise InsufficientData(
            f"The split is judged from {_SMALLEST_EXPECTED:g} expected customers in each arm; "
            f"{smaller:.1f} of {len(chances)} are expected in the smaller one. Wait for more customers."
        )
    surprise, variance = float(is_treatment.sum()) - expected, float((chances * (1 - chances)).sum())
    if variance == 0:
        return 0.0 if surprise else 1.0
    return float(stats.chi2.sf(surprise**2 / variance, 1))


@dataclass(frozen=True)
class _ArmTotals:
    """Conversations and successes of one arm by customer and stratum, shape (customers, strata); 0 where somebody was not seen."""

    conversations: Vector
    successes: Vector

    def within(self, strata: Booleans) -> "_ArmTotals":
        return _ArmTotals(self.conversations[:, strata], self.successes[:, strata])

    @property
    def customers(self) -> Vector:
        """By stratum, shape (strata,)."""
        return np.asarray((self.conversations > 0).sum(axis=0), dtype=float)

    @property
    def present(self) -> int:
        return int((self.conversations > 0).any(axis=1).sum())

    @property
    def rates(self) -> Vector:
        return np.asarray(self.successes.sum(axis=0) / self.conversations.sum(axis=0))

    def variance(self, weights: Vector) -> float:
        """Of the weighted mean of the rates; every stratum corrected for its own degrees of freedom."""
        count = self.customers
        scale = weights * np.sqrt(count / (count - 1)) / self.conversations.sum(axis=0)
        influence = (self.successes - self.rates * self.conversations) @ scale
        return float(influence @ influence)

    def pseudo_variance(self, weights: Vector) -> float:
        """What one success and one failure of an average customer would add, dealt to the strata by weight."""
        return float((weights**3 * (self.rates**2 + (1 - self.rates) ** 2) / self.customers**2).sum())


def _arms(trials: Trials) -> tuple[_ArmTotals, _ArmTotals]:
    if not len(trials.customers):
        empty = _ArmTotals(np.zeros((0, 1)), np.zeros((0, 1)))
        return empty, empty
    shape = int(trials.customers.max()) + 1, int(trials.strata.max()) + 1
    is_treated = np.zeros(shape[0], dtype=bool)
    is_treated[trials.customers] = trials.is_treatment
    cells = trials.customers * shape[1] + trials.strata

    def totals(counted: Vector) -> Vector:
        return np.bincount(cells, counted, minlength=shape[0] * shape[1]).astype(float).reshape(shape)

    conversations, successes = totals(np.ones(len(cells))), totals(trials.successes.astype(float))
    return _ArmTotals(conversations[~is_treated], successes[~is_treated]), _ArmTotals(conversations[is_treated], successes[is_treated])
