"""How sure a number is: bounds from few rows that hold with a stated confidence, so that few rows decide nothing.

All bounds are one-sided: the truth lies below `low` with at most the chance `alpha_low`, above `high` with at most
`alpha_high`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite, sqrt
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.core.verdicts import Verdict

Rows = npt.NDArray[np.int64]


class Interval(msgspec.Struct, frozen=True):
    """Bounds on a number and how they were found."""

    low: float
    high: float
    method: str

    def at_least(self, least: float) -> Verdict:
        """Pass when even the low bound reaches `least`, fail when not even the high one does."""
        return "pass" if self.low >= least else "fail" if self.high < least else "inconclusive"

    def at_most(self, most: float) -> Verdict:
        """Pass when even the high bound stays within `most`, fail when not even the low one does."""
        return "pass" if self.high <= most else "fail" if self.low > most else "inconclusive"


def share(successes: int, trials: int, alpha_low: float, alpha_high: float) -> Interval:
    """Exact bounds on a probability (Clopper & Pearson 1934, Biometrika 26: 404-413).

    Example:
        >>> found = share(10, 10, 0.05, 0.05)
        >>> round(found.low, 4), found.high
        (0.7411, 1.0)
    """
    from scipy.stats import beta

    low = float(beta.ppf(alpha_low, successes, trials - successes + 1)) if successes else 0.0
    high = float(beta.ppf(1 - alpha_high, successes + 1, trials - successes)) if successes < trials else 1.0
    return Interval(low, high, "exact")


def paired_share(won: int, lost: int, trials: int, alpha_low: float, alpha_high: float) -> Interval:
    """Bounds on the difference of two probabilities measured on the same rows (Tango 1998, Stat. Med. 17: 891-908).

    `won` rows the first got right and the second wrong, `lost` the other way round. Unlike a bootstrap it stays honest
    where hardly a row differs: two equal models on ten rows may still differ by a fifth.

    Example:
        >>> found = paired_share(0, 0, 10, 0.05, 0.05)
        >>> round(found.low, 3), round(found.high, 3)
        (-0.213, 0.213)
    """
    observed = (won - lost) / trials
    low = _where_score_is(won, lost, trials, NormalDist().inv_cdf(1 - alpha_low), -1.0, observed)
    high = -_where_score_is(lost, won, trials, NormalDist().inv_cdf(1 - alpha_high), -1.0, -observed)
    return Interval(low, high, "Tango's score")


def _where_score_is(won: int, lost: int, trials: int, wanted: float, low: float, high: float) -> float:
    """The difference, between `low` and `high`, at which the score test is just rejected; the score falls with it."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(won, lost, trials, middle) > wanted else (low, middle)
    return low


def _score(won: int, lost: int, trials: int, difference: float) -> float:
    a = 2 * trials
    b = -won - lost + (2 * trials - won + lost) * difference
    c = -lost * difference * (1 - difference)
    # The likeliest share of rows lost, were that the true difference.
    nuisance = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = trials * (2 * nuisance + difference * (1 - difference))
    above = won - lost - trials * difference
    return above / sqrt(variance) if variance > 0 else inf if above > 0 else 0.0


def resampled(
    statistic: Callable[[Rows], Sequence[float]], rows: int, resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """The statistic of `resamples` samples drawn with replacement (Efron 1979); one row each, undefined ones left out.

    A statistic of two models on the same rows is paired. Fewer than nine in ten defined: an empty array.
    """
    rng = np.random.default_rng(seed)
    found = np.array([statistic(rng.integers(0, rows, rows)) for _ in range(resamples)], np.float64)
    defined = found[np.isfinite(found).all(axis=1)]
    return defined if len(defined) >= 0.9 * resamples else defined[:0]


def percentiles(
    values: npt.NDArray[np.float64], observed: float, alpha_low: float, alpha_high: float, least_width: float = 0.0
) -> Interval:
    """The percentile interval of resampled values, at least `least_width` to either side of what was observed."""
    if not len(values) or not isfinite(observed):
        return Interval(-inf, inf, "undefined")
    low, high = np.quantile(values, [alpha_low, 1 - alpha_high])
    return Interval(min(float(low), observed - least_width), max(float(high), observed + least_width), "bootstrap")


def least_width(rows: int, alpha: float) -> float:
    """How far a share may lie from what so many rows show when none of them shows a difference.

    The half width of Tango's interval without a differing row. A metric that counts rows cannot be surer than
    accuracy is, and a bootstrap of rows that all look alike would claim to be certain.

    Example:
        >>> round(least_width(10, 0.05), 3), round(least_width(1000, 0.05), 4)
        (0.213, 0.0027)
    """
    z = NormalDist().inv_cdf(1 - alpha)
    return z * z / (rows + z * z)
