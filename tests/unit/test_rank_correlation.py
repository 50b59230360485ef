"""Rank correlations, against scipy's, with intervals that cover."""

import numpy as np
import pytest
from scipy import stats

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.rank_correlation import Method, kendall_tau_b, rank_correlation
from agentgym.statistics import Estimate

CLUSTERS = [f"customer {number // 2}" for number in range(60)]


def with_ties(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 5, size=60)
    return left, left + rng.integers(0, 6, size=60)


def test_both_are_those_of_scipy_also_with_ties() -> None:
    left, right = with_ties()
    assert rank_correlation(left, right, CLUSTERS, method="kendall").mean == pytest.approx(stats.kendalltau(left, right).statistic)
    assert rank_correlation(left, right, CLUSTERS, method="spearman").mean == pytest.approx(stats.spearmanr(left, right).statistic)


def test_an_order_kept_in_every_sample_has_the_interval_of_clusters_that_agree() -> None:
    """With 30 clusters 1 - 0.025^(1/30) = 11.6 % of the unseen may be reversed: 1 - 0.116 · 2."""
    order = np.arange(60)
    estimate = rank_correlation(order, order, CLUSTERS, method="spearman")
    assert (estimate.mean, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(1 - 2 * (1 - 0.025 ** (1 / 30)))


def test_inside_clusters_only_their_own_pairs_count() -> None:
    """Between customers the order is reversed, inside each of them it is kept."""
    left = [2 * (number // 2) + number % 2 for number in range(60)]
    right = [-4 * (number // 2) + number % 2 for number in range(60)]
    assert rank_correlation(left, right, CLUSTERS, method="kendall").mean < -0.9
    assert rank_correlation(left, right, CLUSTERS, method="kendall", is_within=True).mean == 1.0


@pytest.mark.parametrize(
    ("right", "clusters"), [([1] * 60, CLUSTERS), (range(60), ["a", "b", "c"] * 20)], ids=["a constant side", "too few clusters"]
)
def test_an_order_of_nothing_is_undefined(right: list[int], clusters: list[str]) -> None:
    with pytest.raises(InsufficientData):
        rank_correlation(range(60), list(right), clusters, method="kendall")


def test_inside_clusters_of_one_there_is_no_order() -> None:
    with pytest.raises(InsufficientData, match="inside customers"):
        rank_correlation(range(60), range(60), list(map(str, range(60))), method="kendall", is_within=True)


@pytest.mark.parametrize("rows", [(range(3), range(4), "abc"), ([0.0, np.nan], [0, 1], "ab")], ids=["unequal", "not a number"])
def test_rows_that_do_not_fit_are_refused(rows: tuple[list[float], list[float], str]) -> None:
    left, right, clusters = rows
    with pytest.raises(InvalidInput, match="finite rows"):
        rank_correlation(list(left), list(right), list(clusters), method="kendall")


def test_tau_of_a_constant_is_none() -> None:
    assert kendall_tau_b([0, 1, 2], [5, 6, 7]) == 1.0
    assert kendall_tau_b([0, 1, 2], [5, 5, 5]) is None


@pytest.mark.parametrize("method", ["kendall", "spearman"])
def test_the_interval_covers_the_true_correlation_about_as_often_as_it_says(method: Method) -> None:
    """Normal pairs of correlation .5: tau is 2/π · asin(.5) = 1/3, rho 6/π · asin(.25). A bootstrap of 40 clusters covers a little less."""
    truth = {"kendall": 1 / 3, "spearman": 6 / np.pi * np.arcsin(0.25)}[method]
    clusters = [str(number) for number in range(40)]

    def interval(seed: int) -> Estimate:
        left, right = np.random.default_rng(seed).multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=40).T
        return rank_correlation(left, right, clusters, method=method, seed=seed)

    covered = [estimate.low <= truth <= estimate.high for estimate in map(interval, range(200))]
    assert 0.90 <= np.mean(covered) <= 0.985
