"""The difference of two rates or bounded means, exactly, at every sample size: by betting on pairs.

The i-th value of the challenger is paired with the mean of the i-th block of baseline values. A pair's difference lies
in [-1, 1] and its mean is the difference of the means, so whoever may bet on a bounded mean (see `betting`) may bet on
that. Pairs of several strata are put one after the other: what betting made is multiplied.
"""

from __future__ import annotations

from math import floor

import numpy as np
import numpy.typing as npt

from penstock.measures import betting
from penstock.measures.arrays import Floats
from penstock.measures.interval import Interval

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
    # 0.9 / 0.1 is 9 in exact numbers only.
    block = min(MOST_BLOCK, max(1, floor((1 - share) / share + 1e-9))) if share > 0 else MOST_BLOCK
    count = min(len(second), len(first) // block)
    blocks: Floats = first[: count * block].reshape(count, block).mean(axis=1)
    return second[:count] - blocks


def interval(z: npt.ArrayLike, alpha: float) -> Interval:
    """Bounds on the mean of differences in [-1, 1] that hold at every sample size at once.

    Example:
        >>> found = interval(np.repeat([-1.0, 0.0, 1.0], [700, 8000, 1300]), 0.05)
        >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
        (0.06, 0.045, 0.075)
    """
    values = np.asarray(z, np.float64)
    found = betting.interval((values + 1) / 2, alpha)
    return Interval(float(values.mean()) if len(values) else 0.0, 2 * found.low - 1, 2 * found.high - 1)


def log_wealth(z: npt.ArrayLike, difference: float, *, above: bool) -> float:
    """The logarithm of the e-value against "the difference is at most `difference`" (with not `above`: at least).

    Example:
        >>> z = np.repeat([-1.0, 0.0, 1.0], [700, 8000, 1300])
        >>> log_wealth(z, 0.0, above=True) > 20 > 0 > log_wealth(z, 0.0, above=False)
        True
    """
    return betting.log_wealth((np.asarray(z, np.float64) + 1) / 2, (difference + 1) / 2, above=above)
