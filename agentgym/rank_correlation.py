"""Whether two measures of the same conversations put them in the same order, with an interval by customer."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agentgym.errors import InsufficientData, InvalidInput
from agentgym.statistics import Estimate, Numbers, Vector, mean_estimate

Method = Literal["kendall", "spearman"]
# From weights of rows in B samples, shape (B, rows), to the correlation in each, shape (B,); NaN where it is undefined.
Correlate = Callable[[Vector], Vector]

RESAMPLES = 1_000
# Pairs grow with the square: 32 MB of them, and a second for all resamples, at this many rows.
MOST_ROWS = 2_000
MIN_CLUSTERS = 5


def rank_correlation(
    left: Numbers,
    right: Numbers,
    clusters: Sequence[str],
    *,
    method: Method,
    is_within: bool = False,
    seed: int = 0,
    confidence: float = 0.95,
) -> Estimate:
    """Kendall's tau-b (Kendall 1945, with ties) or Spearman's rho on mid-ranks; from -1 to 1.

    is_within: Kendall's, counting only pairs inside a cluster, so that nothing in which clusters differ has a say.

    The interval holds the middle of `RESAMPLES` bootstrap samples of whole clusters (Field and Welsh 2007). Samples in which one side is
    constant have no order and are left out. Where all samples agree, it is the one that `mean_estimate` gives for clusters that agree.
    Raises InsufficientData with fewer than 5 clusters, or where one side is constant: nothing is put in an order there.
    """
    x, y = _columns(left, right, clusters)
    labels, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(labels) < MIN_CLUSTERS:
        raise InsufficientData(
            f"The interval of a rank correlation needs at least {MIN_CLUSTERS} customers; got {len(labels)}. Bring more conversations."
        )
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        raise InsufficientData(
            f"A rank correlation needs two values on each side; got {len(np.unique(x))} and {len(np.unique(y))} on {len(x)} conversations. "
            "Bring conversations that differ."
        )
    correlate = _spearman(x, y) if method == "spearman" else _kendall(x, y, np.equal.outer(index, index) if is_within else None)
    mean = float(correlate(np.ones((1, len(x))))[0])
    if not np.isfinite(mean):
        raise InsufficientData("An order inside customers needs a customer with conversations that differ on both sides; there is none.")
    resampled = correlate(_resampled_weights(index, len(labels), seed))
    resampled = resampled[np.isfinite(resampled)]
    error = float(resampled.std(ddof=1))
    if error <= 1e-9:
        agreed = mean_estimate(np.full(len(labels), mean), labels.tolist(), bounds=(-1.0, 1.0), confidence=confidence)
        return agreed.model_copy(update={"mean": mean})
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(
        mean=mean, standard_error=error, low=min(float(low), mean), high=max(float(high), mean), clusters=len(labels), confidence=confidence
    )


def kendall_tau_b(left: Numbers, right: Numbers) -> float | None:
    """Kendall's tau-b of two sequences, shape (rows,) each; None where one side is constant, or has fewer than two rows."""
    tau = float(stats.kendalltau(left, right).statistic) if len(left) > 1 else float("nan")
    return tau if np.isfinite(tau) else None


def _columns(left: Numbers, right: Numbers, clusters: Sequence[str]) -> tuple[Vector, Vector]:
    x, y = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
    if not len(x) == len(y) == len(clusters) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidInput(
            f"A rank correlation takes finite rows of equal number; got {len(x)}, {len(y)} and {len(clusters)} clusters. Align the rows."
        )
    if len(x) > MOST_ROWS:
        raise InvalidInput(f"A rank correlation takes at most {MOST_ROWS} rows; got {len(x)}. Draw fewer.")
    return x, y


def _resampled_weights(index: NDArray[np.intp], clusters: int, seed: int) -> Vector:
    """How often each row is in each bootstrap sample, shape (RESAMPLES, rows)."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    return np.asarray(drawn[:, index], dtype=float)


def _kendall(x: Vector, y: Vector, counted: NDArray[np.bool_] | None) -> Correlate:
    """Tau-b of weighted rows: pairs in the same order less those in the other, by the geometric mean of the pairs that differ.

    counted: which pairs are, shape (rows, rows); None for all.
    """
    right, above = (np.sign(side[:, None] - side) * (1.0 if counted is None else counted) for side in (x, y))
    sides = (right * above, np.abs(right), np.abs(above))

    def correlate(weights: Vector) -> Vector:
        agreeing, differing_x, differing_y = (np.einsum("bi,bi->b", weights @ pairs, weights) for pairs in sides)
        return _quotient(agreeing, np.sqrt(differing_x * differing_y))

    return correlate


def _spearman(x: Vector, y: Vector) -> Correlate:
    """Pearson's correlation of mid-ranks, weighted rows counting as often as they weigh."""
    sides = [np.less.outer(side, side) + np.equal.outer(side, side) / 2 for side in (x, y)]

    def correlate(weights: Vector) -> Vector:
        ranks = [weights @ side for side in sides]
        a, b = (rank - (weights * rank).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True) for rank in ranks)
        return _quotient((weights * a * b).sum(axis=1), np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1)))

    return correlate


def _quotient(above: Vector, below: Vector) -> Vector:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 1e-12)
