"""A quantile, and the ratio of two versions' quantiles, at every sample size at once.

Howard and Ramdas 2022, Sequential estimation of quantiles with applications to A/B testing and best-arm identification,
Bernoulli 28: 1704-1728, theorem 1 with the beta-binomial curve: how many values lie below the quantile is a sum of
steps that are known, so the curve of a rate bounds the ranks between which the quantile lies.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from penstock.measures import beta_binomial
from penstock.measures.interval import Interval
from penstock.measures.normal_mixture import best_rho

BEST_AT = 2000.0


def interval(
    values: npt.ArrayLike,
    quantile: float,
    alpha: float,
    best_at: float = BEST_AT,
    weights: npt.ArrayLike | None = None,
    units: int | None = None,
) -> Interval:
    """Bounds on a quantile; infinite where too little was seen.

    Values of one unit are not independent: with `weights` that give each of `units` units the same weight, the sequence
    is that of so many independent values, which is on the safe side.

    Example:
        >>> found = interval(np.arange(1, 10_001), 0.99, 0.05)
        >>> found.estimate, 9_850 < found.low < 9_880, 9_910 < found.high < 9_935
        (9900.0, True, True)
    """
    x = np.asarray(values, np.float64)
    if not len(x):
        return Interval(float("nan"), float("-inf"), float("inf"))
    count = len(x) if units is None else units
    below, above = _deviations(count, quantile, alpha, best_at)
    shares = quantile, max(0.0, quantile - below / count), min(2.0, quantile + above / count)
    if weights is None:
        return Interval(*_at_ranks(x, shares))
    order = np.argsort(x)
    reached = np.cumsum(np.asarray(weights, np.float64)[order])
    reached /= reached[-1]
    return Interval(*(_at_share(x[order], reached, share) for share in shares))


def ratio(baseline: Interval, challenger: Interval) -> Interval:
    """The challenger's quantile (of values above 0) by the baseline's, from intervals with half of alpha each."""
    low = challenger.low / baseline.high if challenger.low > 0 and baseline.high < np.inf else 0.0
    high = challenger.high / baseline.low if baseline.low > 0 else float("inf")
    return Interval(challenger.estimate / baseline.estimate if baseline.estimate else float("nan"), low, high)


@lru_cache(maxsize=4096)
def _deviations(count: int, quantile: float, alpha: float, best_at: float) -> tuple[float, float]:
    """By how many ranks fewer, and more, values may lie below the quantile than are expected to."""
    g, h = quantile, 1 - quantile
    variance = g * h
    rho = best_rho(best_at * variance, alpha)
    more = beta_binomial.bound(count * variance, rho, g, h, alpha)
    fewer = beta_binomial.bound(count * variance, rho, h, g, alpha)
    return fewer, more


def _at_ranks(x: npt.NDArray[np.float64], shares: tuple[float, ...]) -> list[float]:
    """The values at these shares of the ranks; only those are sorted into place."""
    ranks = [int(np.ceil(share * len(x))) for share in shares]
    inside = [rank - 1 for rank in ranks if 1 <= rank <= len(x)]
    placed = np.partition(x, inside) if inside else x
    return [float("-inf") if rank < 1 else float("inf") if rank > len(x) else float(placed[rank - 1]) for rank in ranks]


def _at_share(x: npt.NDArray[np.float64], reached: npt.NDArray[np.float64], share: float) -> float:
    if share <= 0:
        return float("-inf")
    if share > 1:
        return float("inf")
    return float(x[min(int(np.searchsorted(reached, share - 1e-12)), len(x) - 1)])
