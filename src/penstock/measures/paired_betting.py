"""The difference of two rates or bounded means, exactly, at every sample size: by betting on pairs.

The i-th value of the challenger is paired with the mean of the i-th block of baseline values. A pair's difference z
lies in [-1, 1], and its mean is the difference of the means; whoever bets against a hypothesis about that mean gets
rich only if the hypothesis is wrong (Waudby-Smith and Ramdas 2024, Estimating means of bounded random variables by
betting, Journal of the Royal Statistical Society B 86: 1-27). The stake is not chosen but mixed over (Cover 1991), so
that nothing needs tuning and the order of pairs does not matter: different values and their counts are enough.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from penstock.measures.arrays import Floats
from penstock.measures.interval import Interval

_STAKES = np.geomspace(0.002, 0.95, 40)
_TOLERANCE = 1e-9
MOST_BLOCK = 100


def pairs(baseline: npt.ArrayLike, challenger: npt.ArrayLike, share: float) -> Floats:
    """Differences of pairs: values of whichever arm has less traffic, less (or from) means of blocks of the other's.

    `share` is the challenger's planned part of both arms' traffic; it fixes the size of the blocks before anything is
    seen. Values are in [0, 1] and in the order in which they came.

    Example:
        >>> pairs([0, 1, 0, 0], [1, 0, 1], 0.34).tolist()
        [1.0, -1.0, 1.0]
        >>> pairs([0, 1, 0, 0], [1, 0, 1], 0.25).tolist()
        [0.6666666666666667]
    """
    first, second = np.asarray(baseline, np.float64), np.asarray(challenger, np.float64)
    if share > 0.5:
        return -pairs(second, first, 1 - share)
    block = int(min(MOST_BLOCK, max(1, (1 - share) // share))) if share > 0 else MOST_BLOCK
    count = min(len(second), len(first) // block)
    blocks: Floats = first[: count * block].reshape(count, block).mean(axis=1)
    return second[:count] - blocks


def log_wealth(values: Floats, counts: Floats, mean: float, *, above: bool) -> float:
    """The logarithm of what betting against "the mean is at most `mean`" (or with not `above`: at least) has made of 1.

    It exceeds ln(1/alpha), ever, with a chance of at most alpha if the hypothesis is true (Ville 1939).
    """
    if not len(values):
        return 0.0
    # The largest stake with which even the worst value leaves something.
    stakes = _STAKES / (1 + mean) if above else -_STAKES / (1 - mean)
    logs = np.log1p(np.outer(stakes, values - mean)) @ counts
    most = logs.max()
    return float(most + np.log(np.exp(logs - most).mean()))


def counted(z: Floats) -> tuple[Floats, Floats]:
    """The different values and how often each was seen."""
    values, counts = np.unique(z, return_counts=True)
    return values, counts.astype(np.float64)


def interval(z: Floats, alpha: float) -> Interval:
    """Bounds on the mean of z that hold at every sample size at once.

    Example:
        >>> z = np.repeat([-1.0, 0.0, 1.0], [700, 8000, 1300])
        >>> found = interval(z, 0.05)
        >>> found.low > 0.04 and found.high < 0.08
        True
    """
    values, counts = counted(z)
    if not len(z):
        return Interval(0.0, -1.0, 1.0)
    estimate = float(values @ counts / counts.sum())
    wanted = np.log(2 / alpha)
    low = _edge(values, counts, wanted, -1 + 1e-9, estimate, above=True)
    high = _edge(values, counts, wanted, 1 - 1e-9, estimate, above=False)
    return Interval(estimate, low, high)


def _edge(values: Floats, counts: Floats, wanted: float, outside: float, inside: float, *, above: bool) -> float:
    """Where betting just makes enough; the wealth falls from `outside` to `inside`."""

    def excess(mean: float) -> float:
        return log_wealth(values, counts, mean, above=above) - wanted

    if excess(outside) < 0:
        return -1.0 if above else 1.0
    found = float(brentq(excess, outside, inside, xtol=_TOLERANCE))
    # To the side that is refused, so that rounding never makes the interval too narrow.
    return found - 2 * _TOLERANCE if above else found + 2 * _TOLERANCE
