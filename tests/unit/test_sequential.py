"""Two rates compared while outcomes arrive: derived numbers, honest edges, and false alarms under peeking by simulation."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import log, sqrt

import numpy as np
import pytest
from scipy import stats

from agentgym.errors import InsufficientData
from agentgym.sequential import Comparison, Trials, compare_rates, mixture_boundary, sample_ratio_p_value, sequence_interval
from agentgym.statistics import ratio_estimate

# One row a conversation: customer, arm, stratum, success.
Row = tuple[int, bool, int, bool]


def trials(rows: Sequence[Row]) -> Trials:
    customers, arms, strata, successes = zip(*rows, strict=True)
    return Trials(
        customers=np.array(customers), is_treatment=np.array(arms), strata=np.array(strata), successes=np.array(successes, dtype=bool)
    )


def arm(start: int, right: int, wrong: int, *, is_treatment: bool, stratum: int = 0) -> list[Row]:
    """Customers with one conversation each, numbered from `start`."""
    return [(start + number, is_treatment, stratum, number < right) for number in range(right + wrong)]


def two_arms(control: tuple[int, int], treatment: tuple[int, int], *, start: int = 0, stratum: int = 0) -> list[Row]:
    """Successes and failures of each arm."""
    old = arm(start, *control, is_treatment=False, stratum=stratum)
    return old + arm(start + sum(control), *treatment, is_treatment=True, stratum=stratum)


def returning(rng: np.random.Generator, arm_of: bool, start: int) -> list[Row]:
    return [(start + who, arm_of, 0, bool(rng.random() < 0.6)) for who in range(30) for _ in range(rng.integers(1, 6))]


def test_single_conversations_have_welchs_standard_error() -> None:
    found = compare_rates(trials(two_arms((60, 40), (90, 30))))
    welch = stats.ttest_ind([1] * 90 + [0] * 30, [1] * 60 + [0] * 40, equal_var=False)
    assert found.mean == pytest.approx(0.75 - 0.6)
    assert found.mean / sqrt(found.variance) == pytest.approx(welch.statistic)


def test_a_customers_repeated_conversations_add_no_certainty() -> None:
    once = two_arms((60, 40), (70, 30))
    assert compare_rates(trials(once * 10)).variance == pytest.approx(compare_rates(trials(once)).variance)
    assert compare_rates(trials(once * 10)).customers == 200


def test_the_variance_is_that_of_two_clustered_shares() -> None:
    rng = np.random.default_rng(5)
    control, treatment = returning(rng, False, 0), returning(rng, True, 30)
    shares = [ratio_estimate([row[3] for row in side], [1] * len(side), [str(row[0]) for row in side]) for side in (control, treatment)]
    found = compare_rates(trials(control + treatment))
    assert found.mean == pytest.approx(shares[1].mean - shares[0].mean)
    assert found.variance == pytest.approx(sum(share.standard_error**2 for share in shares))


def test_a_ramp_with_a_trend_in_time_shows_no_effect() -> None:
    """Both arms have 0.5 while the split is 9 : 1 and 0.9 while it is even; pooled, the treatment looks .15 better."""
    rows = two_arms((90, 90), (10, 10)) + two_arms((90, 10), (90, 10), start=200, stratum=1)
    pooled = [(customer, is_treatment, 0, success) for customer, is_treatment, _, success in rows]
    assert compare_rates(trials(pooled)).mean == pytest.approx(100 / 120 - 180 / 280)
    assert compare_rates(trials(rows)).mean == pytest.approx(0)


def test_strata_weigh_by_the_product_over_the_sum_of_their_customers() -> None:
    # 180 · 20 / 200 = 18 against 100 · 100 / 200 = 50.
    rows = two_arms((90, 90), (12, 8)) + two_arms((50, 50), (70, 30), start=200, stratum=1)
    found = compare_rates(trials(rows))
    variances = 0.25 / 179 + 0.24 / 19, 0.25 / 99 + 0.21 / 99
    assert found.mean == pytest.approx((18 * 0.1 + 50 * 0.2) / 68)
    assert found.variance == pytest.approx((18 / 68) ** 2 * variances[0] + (50 / 68) ** 2 * variances[1])
    assert found.even_customers == pytest.approx(4 * 68)


def test_a_customer_in_two_strata_is_still_one() -> None:
    first = two_arms((60, 40), (70, 30))
    again = [(customer, is_treatment, 1, success) for customer, is_treatment, _, success in first]
    found = compare_rates(trials(first + again))
    assert found.variance == pytest.approx(compare_rates(trials(first)).variance)
    assert (found.control_customers, found.treatment_customers) == (100, 100)


def test_a_stratum_with_one_customer_in_an_arm_is_left_out() -> None:
    rows = two_arms((60, 40), (70, 30)) + two_arms((0, 500), (1, 0), start=200, stratum=1)
    alone = compare_rates(trials(two_arms((60, 40), (70, 30))))
    assert asdict(compare_rates(trials(rows))) == pytest.approx(asdict(alone))


@pytest.mark.parametrize("rows", [[], [(0, False, 0, True), (1, False, 0, True), (2, True, 0, True)]])
def test_nothing_to_compare_has_no_difference(rows: list[Row]) -> None:
    empty = np.zeros(0, dtype=int)
    given = trials(rows) if rows else Trials(customers=empty, is_treatment=empty > 0, strata=empty, successes=empty > 0)
    with pytest.raises(InsufficientData, match=r"needs 2 customers .* got \d and \d, nowhere 2 of both\. Wait"):
        compare_rates(given)


def test_the_interval_is_the_theorems_with_two_pseudo_customers_for_each_half_square_of_z() -> None:
    comparison = compare_rates(trials(two_arms((120, 80), (150, 50))))
    rho_square = (-2 * log(0.05) + log(-2 * log(0.05) + 1)) / 600
    spread = 400 * rho_square
    z = sqrt(2 * (spread + 1) / spread * log(sqrt(spread + 1) / 0.05))
    pseudo = (0.6**2 + 0.4**2 + 0.75**2 + 0.25**2) / 200**2
    variance = 0.24 / 199 + 0.1875 / 199 + z**2 / 4 * pseudo
    theorem = sqrt(400 * variance) * sqrt(2 * (spread + 1) / (400**2 * rho_square) * log(sqrt(spread + 1) / 0.05))
    assert sequence_interval(comparison, alpha=0.05, tightest_at=600) == pytest.approx((0.15 - theorem, 0.15 + theorem))


def test_no_other_choice_is_tighter_where_it_should_be_tightest() -> None:
    chosen = mixture_boundary(600, alpha=0.05, tightest_at=600)
    others = [mixture_boundary(600, alpha=0.05, tightest_at=tightest) for tightest in range(100, 3000, 20)]
    assert chosen == pytest.approx(min(others), rel=0.002)


def test_flawless_arms_still_have_an_interval() -> None:
    comparison = compare_rates(trials(two_arms((100, 0), (100, 0))))
    z = mixture_boundary(200, alpha=0.05, tightest_at=600)
    low, high = sequence_interval(comparison, alpha=0.05, tightest_at=600)
    assert comparison.variance == 0
    assert (low, high) == pytest.approx((-(z**2) / 2 * sqrt(2) / 100, z**2 / 2 * sqrt(2) / 100))


def test_flawless_arms_have_the_same_interval_in_strata() -> None:
    rows = two_arms((50, 0), (50, 0)) + two_arms((50, 0), (50, 0), start=100, stratum=1)
    assert compare_rates(trials(rows)).pseudo_variance == pytest.approx(2 / 100**2)


def test_an_interval_stays_within_what_a_difference_can_be() -> None:
    assert sequence_interval(compare_rates(trials(two_arms((0, 3), (3, 0)))), alpha=0.05, tightest_at=600)[1] == 1


def test_the_p_value_is_the_level_at_which_the_interval_touches_0() -> None:
    comparison = compare_rates(trials(two_arms((60, 40), (85, 15))))
    z = float(stats.norm.isf(comparison.p_value() / 2))
    assert comparison.mean - z * comparison.standard_error(z) == pytest.approx(0)


def test_the_same_share_everywhere_is_no_surprise_and_all_against_none_is() -> None:
    assert compare_rates(trials(two_arms((100, 0), (100, 0)))).p_value() == 1
    assert compare_rates(trials(two_arms((100, 0), (0, 100)))).p_value() < 1e-6


def test_a_constant_split_is_judged_by_pearsons_chi_square() -> None:
    found = sample_ratio_p_value(np.arange(1000) < 540, np.full(1000, 0.5))
    assert found == pytest.approx(stats.chisquare([540, 460], [500, 500]).pvalue)


def test_a_ramp_is_judged_by_the_shares_each_customer_was_dealt_at() -> None:
    # 0.1 · 1000 + 0.5 · 1000 = 600 are expected.
    chances = np.repeat([0.1, 0.5], 1000)
    assert sample_ratio_p_value(np.arange(2000) < 600, chances) == pytest.approx(1)
    assert sample_ratio_p_value(np.arange(2000) < 680, chances) == pytest.approx(stats.chi2.sf(80**2 / (90 + 250), 1))


def test_somebody_where_nobody_could_be_is_a_mismatch() -> None:
    chances = np.repeat([0.0, 1.0], 10)
    assert sample_ratio_p_value(chances > 0, chances) == 1
    assert sample_ratio_p_value(np.arange(20) >= 9, chances) == 0


def test_a_split_is_not_judged_from_a_handful() -> None:
    with pytest.raises(InsufficientData, match=r"5 expected customers in each arm; 0\.9 of 90 .* Wait for more customers"):
        sample_ratio_p_value(np.arange(90) < 4, np.full(90, 0.01))


# ---- Simulations ----


def visits(rng: np.random.Generator, rows: int, *, customers: int, rate: float, share: float = 0.5, gain: float = 0.0) -> Trials:
    """Conversations in order, each of a customer who may return; customers differ with a standard deviation of 0.15 or less."""
    who = np.minimum((np.arange(rows) * np.sqrt(rng.random(rows)) * customers / rows).astype(int), customers - 1)
    treated = rng.random(customers) < share
    spread = rate * (1 - rate) / min(0.15, rate * (1 - rate)) ** 2 - 1
    rates = np.clip(rng.beta(rate * spread, (1 - rate) * spread, customers) + gain * treated, 0, 1)
    return Trials(customers=who, is_treatment=treated[who], strata=np.zeros(rows, dtype=int), successes=rng.random(rows) < rates[who])


def peeks(seen: Trials, looks: int) -> Iterator[tuple[Trials, Comparison]]:
    """Each look at which both arms have 100 customers."""
    for end in np.linspace(0, len(seen.customers), looks + 1).astype(int)[1:]:
        past = seen.take(slice(end))
        try:
            comparison = compare_rates(past)
        except InsufficientData:
            continue
        if min(comparison.control_customers, comparison.treatment_customers) >= 100:
            yield past, comparison


def excludes_zero(comparison: Comparison) -> bool:
    low, high = sequence_interval(comparison, alpha=0.05, tightest_at=600)
    return low > 0 or high < 0


def naive_z_test_alarms(past: Trials) -> bool:
    """The two-proportion z-test on conversations, as if each were a customer and nobody had looked before."""
    control, treatment = past.successes[~past.is_treatment], past.successes[past.is_treatment]
    pooled = past.successes.mean()
    error = sqrt(pooled * (1 - pooled) * (1 / len(control) + 1 / len(treatment)))
    return bool(abs(treatment.mean() - control.mean()) > 1.96 * error)


def test_fifty_looks_at_equal_arms_raise_few_false_alarms_and_a_naive_test_many() -> None:
    """1,000 tests of 2,000 conversations of 700 customers; Monte Carlo's error at 5 % is 0.7 points."""
    rng, ours, naive = np.random.default_rng(11), 0, 0
    for _ in range(1000):
        looks = list(peeks(visits(rng, 2000, customers=700, rate=0.7), 50))
        ours += any(excludes_zero(comparison) for _, comparison in looks)
        naive += any(naive_z_test_alarms(past) for past, _ in looks)
    assert ours / 1000 <= 0.06
    assert naive / 1000 > 0.2


@pytest.mark.parametrize(("share", "rate"), [(0.1, 0.96), (0.5, 0.98), (0.5, 0.999)])
def test_arms_that_hardly_fail_raise_few_false_alarms_too(share: float, rate: float) -> None:
    """Where an arm is flawless by luck, its own customers show no variance; 200 tests, each customer seen once."""
    rng, alarms, rows = np.random.default_rng(12), 0, 3000
    for _ in range(200):
        treated = rng.random(rows) < share
        seen = Trials(customers=np.arange(rows), is_treatment=treated, strata=np.zeros(rows, dtype=int), successes=rng.random(rows) < rate)
        alarms += any(excludes_zero(comparison) for _, comparison in peeks(seen, 25))
    assert alarms / 200 <= 0.06


@pytest.mark.parametrize(("each", "power"), [(350, 0.5), (700, 0.9)])
def test_ten_points_are_found_by_350_conversations_an_arm_in_half_of_the_tests(each: int, power: float) -> None:
    """0.7 against 0.8, one conversation a customer: the true difference is 3.1 and 4.3 standard errors, the boundary at about 3.05."""
    rng, found = np.random.default_rng(13), 0
    for _ in range(200):
        treated = rng.permutation(2 * each) < each
        successes = rng.random(2 * each) < 0.7 + 0.1 * treated
        seen = Trials(customers=np.arange(2 * each), is_treatment=treated, strata=np.zeros(2 * each, dtype=int), successes=successes)
        found += any(excludes_zero(comparison) for _, comparison in peeks(seen, 10))
    assert found / 200 == pytest.approx(power, abs=0.1)
