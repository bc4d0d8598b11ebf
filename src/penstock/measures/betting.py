"""One bounded mean, exactly, at every sample size: by betting, with and without replacement.

Waudby-Smith and Ramdas 2024 (see `paired_betting`), sections 4 and 5; the stake is mixed over as there.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from penstock.measures import paired_betting
from penstock.measures.interval import Interval

_STAKES = np.geomspace(0.002, 0.95, 40)
_GRID = 401


def interval(values: npt.ArrayLike, alpha: float) -> Interval:
    """Bounds on the mean of values in [0, 1].

    Example:
        >>> found = interval(np.repeat([0.0, 1.0], [300, 700]), 0.05)
        >>> 0.64 < found.low < 0.66 and 0.74 < found.high < 0.76
        True
    """
    # On [-1, 1] as pairs are, so that the stakes are those there.
    found = paired_betting.interval(2 * np.asarray(values, np.float64) - 1, alpha)
    return Interval((found.estimate + 1) / 2, (found.low + 1) / 2, (found.high + 1) / 2)


def without_replacement(values: npt.ArrayLike, population: int, alpha: float) -> Interval:
    """Bounds on the mean of a whole population of values in [0, 1] of which these were drawn, in this order.

    What was seen is certain: after i ones of N the mean is at least i / N.

    Example:
        >>> without_replacement(np.ones(50), 100, 0.05).low >= 0.5
        True
    """
    x = np.asarray(values, np.float64)
    seen = np.concatenate([[0.0], np.cumsum(x)])
    left = population - np.arange(len(x))
    grid = np.linspace(0, 1, _GRID)
    low, high = seen[-1] / population, (seen[-1] + population - len(x)) / population
    kept = (grid >= low) & (grid <= high)
    wanted = np.log(2 / alpha)
    for index in np.flatnonzero(kept):
        # What is left has a mean that follows from the hypothesis and from what was seen.
        mean = np.clip((grid[index] * population - seen[:-1]) / left, 1e-9, 1 - 1e-9)
        up = np.log1p(_STAKES[:, None] * (x - mean) / mean).cumsum(axis=1)
        down = np.log1p(-_STAKES[:, None] * (x - mean) / (1 - mean)).cumsum(axis=1)
        kept[index] = max(_log_mean(up), _log_mean(down)) < wanted
    inside = grid[kept]
    estimate = float(x.mean()) if len(x) else 0.5
    step = 1 / (_GRID - 1)
    if not len(inside):
        return Interval(estimate, float(low), float(high))
    return Interval(estimate, max(float(low), float(inside[0]) - step), min(float(high), float(inside[-1]) + step))


def _log_mean(logs: npt.NDArray[np.float64]) -> float:
    """The most that the mixture of stakes was ever worth, as a logarithm."""
    if not logs.size:
        return 0.0
    most = logs.max(axis=0)
    return float((most + np.log(np.exp(logs - most).mean(axis=0))).max())
