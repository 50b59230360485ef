"""Estimates and differences: derived numbers, honest edges, and coverage by simulation."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.statistics import (
    Estimate,
    Ratios,
    mean_estimate,
    paired_difference,
    paired_ratio_difference,
    pass_hat,
    ratio_estimate,
)


def customers(count: int) -> list[str]:
    return [f"customer-{number}" for number in range(count)]


def test_a_mean_of_single_rows_has_students_interval() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    error = float(np.std(values, ddof=1)) / 2
    margin = stats.t.ppf(0.975, 3) * error
    estimate = mean_estimate(values, customers(4))
    assert estimate.mean == 2.5
    assert estimate.standard_error == pytest.approx(error)
    assert (estimate.low, estimate.high) == pytest.approx((2.5 - margin, 2.5 + margin))


def test_repeating_a_customers_rows_adds_no_certainty() -> None:
    once = mean_estimate([1.0, 2.0, 4.0], customers(3))
    often = mean_estimate([1.0, 2.0, 4.0] * 10, customers(3) * 10)
    assert often.standard_error == pytest.approx(once.standard_error)
    assert often.clusters == 3


def test_a_ratio_is_that_of_the_sums_with_the_linearised_error() -> None:
    # R = 6/10; residuals 2-3R = .2, 4-5R = 1, 0-2R = -1.2; SE² = 3/2 · (.04 + 1 + 1.44) / 10².
    estimate = ratio_estimate([2, 4, 0], [3, 5, 2], customers(3))
    assert estimate.mean == pytest.approx(0.6)
    assert estimate.standard_error == pytest.approx(sqrt(1.5 * 2.48) / 10)


def test_rows_without_a_denominator_do_not_count() -> None:
    assert ratio_estimate([2, 4, 0, 0], [3, 5, 2, 0], customers(4)).clusters == 3


def test_a_flawless_record_has_clopper_and_pearsons_interval_on_clusters() -> None:
    estimate = ratio_estimate([5] * 20, [5] * 20, customers(20))
    assert estimate.mean == estimate.high == 1.0
    assert estimate.low == pytest.approx(stats.beta.ppf(0.025, 20, 1))


def test_one_mistake_never_makes_the_interval_tighter_than_none() -> None:
    flawless = ratio_estimate([5] * 20, [5] * 20, customers(20))
    flawed = ratio_estimate([5] * 19 + [4], [5] * 20, customers(20))
    assert flawed.low <= flawless.low


def test_a_constant_within_bounds_has_the_rule_of_threes_interval() -> None:
    estimate = mean_estimate([4.0] * 30, customers(30), bounds=(1.0, 5.0))
    hidden = 1 - 0.025 ** (1 / 30)
    assert (estimate.low, estimate.high) == pytest.approx((4 - hidden * 3, 4 + hidden))


def test_an_interval_stays_within_the_bounds() -> None:
    assert mean_estimate([1.0, 1.0, 1.2], customers(3), bounds=(1.0, 5.0)).low == 1.0


def test_a_paired_difference_is_that_of_the_differences() -> None:
    old, new = [0.2, 0.9, 0.5, 0.4], [0.3, 1.0, 0.5, 0.8]
    direct = mean_estimate([b - a for a, b in zip(old, new, strict=True)], customers(4))
    paired = paired_difference(old, new, customers(4))
    assert (paired.mean, paired.low, paired.high) == pytest.approx((direct.mean, direct.low, direct.high))


def test_a_hard_case_for_both_cancels_out_of_a_paired_ratio() -> None:
    old = Ratios([1, 9, 2, 8], [10, 10, 10, 10])
    new = Ratios([2, 10, 4, 9], [10, 10, 10, 10])
    difference = paired_ratio_difference(old, new, customers(4))
    assert difference.mean == pytest.approx(5 / 40)
    assert difference.low > 0
    assert ratio_estimate([2, 10, 4, 9], [10] * 4, customers(4)).low < ratio_estimate([1, 9, 2, 8], [10] * 4, customers(4)).mean


def test_the_same_gain_in_few_clusters_is_no_proof() -> None:
    assert paired_difference([0.5] * 5, [0.6] * 5, customers(5), bounds=(0, 1)).low < 0
    assert paired_difference([0.5] * 200, [0.6] * 200, customers(200), bounds=(0, 1)).low > 0


def test_pass_hat_counts_the_ways_to_draw_only_successes() -> None:
    assert pass_hat(3, 4, 2) == 3 / 6
    assert pass_hat(1, 4, 2) == 0


@pytest.mark.parametrize("clusters", [[], ["a", "a", "a"]])
def test_nothing_or_one_cluster_has_no_interval(clusters: list[str]) -> None:
    with pytest.raises(InsufficientData, match="at least 2 clusters"):
        mean_estimate([1.0] * len(clusters), clusters)


def test_a_side_without_denominators_has_no_difference() -> None:
    with pytest.raises(InsufficientData, match="denominator of 0"):
        paired_ratio_difference(Ratios([0, 0], [0, 0]), Ratios([1, 1], [1, 2]), customers(2))


def test_pass_hat_needs_as_many_trials() -> None:
    with pytest.raises(InsufficientData, match="Play more seeds"):
        pass_hat(1, 1, 2)


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(InvalidInput, match="numerator"):
        ratio_estimate([2, 1], [1, 1], customers(2))


def test_rows_must_match_their_clusters() -> None:
    with pytest.raises(InvalidInput, match="got 3 values for 2 clusters"):
        mean_estimate([1.0, 2.0, 3.0], customers(2))


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidInput, match="finite"):
        mean_estimate([1.0, float("nan")], customers(2))


def covers(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(("clusters", "share"), [(20, 0.66), (60, 0.9), (200, 0.97)])
def test_a_shares_interval_covers_the_truth_about_as_often_as_it_says(clusters: int, share: float) -> None:
    """Rows of a customer are alike (intraclass correlation 0.2). At least nominal by construction; 500 runs have an error of 0.01."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(500):
        due = rng.integers(1, 8, clusters)
        right = rng.binomial(due, rng.beta(share * 4, (1 - share) * 4, clusters))
        hits += covers(ratio_estimate(right.astype(float), due.astype(float), customers(clusters)), share)
    assert 0.93 <= hits / 500 <= 0.995


def test_a_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Champion and challenger share what makes a case hard; the true gain is 0.1."""
    rng = np.random.default_rng(7)
    hits = 0
    for _ in range(500):
        due = rng.integers(1, 6, 40)
        hardness = rng.uniform(-0.2, 0.2, 40)
        old, new = rng.binomial(due, 0.6 + hardness).astype(float), rng.binomial(due, 0.7 + hardness).astype(float)
        hits += covers(paired_ratio_difference(Ratios(old, due.astype(float)), Ratios(new, due.astype(float)), customers(40)), 0.1)
    assert 0.92 <= hits / 500 <= 0.98
