"""One bounded mean, exactly, at every sample size: by betting, with and without replacement.

Whoever bets against a hypothesis about a mean gets rich only if the hypothesis is wrong: Waudby-Smith and Ramdas 2024,
Estimating means of bounded random variables by betting, Journal of the Royal Statistical Society B 86: 1-27. The stake
is not chosen but mixed over (Cover 1991, Universal portfolios, Mathematical Finance 1: 1-29), so that nothing needs
tuning and the order of values does not matter: different values and their counts are enough.
"""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from penstock.measures.arrays import Floats
from penstock.measures.interval import Interval

# Which part of the fortune is at stake against a mean of 1/2: the least is best for millions of values.
_PARTS = np.geomspace(0.004, 0.97, 32)
STAKES = 2 * _PARTS / (1 - _PARTS)
_BLOCK = 4096
_TOLERANCE = 1e-9
_MOST_STEPS = 60


def interval(values: npt.ArrayLike, alpha: float) -> Interval:
    """Bounds on the mean of values in [0, 1] that hold at every sample size at once; what is beyond counts as 0 or 1.

    Example:
        >>> found = interval(np.repeat([0.0, 1.0], [300, 700]), 0.05)
        >>> round(found.low, 3), round(found.high, 3)
        (0.65, 0.747)
    """
    x, counts = _counted(values)
    if not len(x):
        return Interval(0.5, 0.0, 1.0)
    count = float(counts.sum())
    mean = min(1.0, float(x @ counts) / count)
    variance = float((x - mean) ** 2 @ counts) / count
    payoffs = np.stack([_log_payoffs(x, counts), _log_payoffs(1 - x, counts)])
    wanted = log(2 / alpha)
    # Near where the edges will be: mixing costs about two.
    start = np.array([mean, 1 - mean]) - sqrt(2 * (wanted + 2) * variance / count)
    low, from_above = _edges(payoffs, count, start, wanted)
    return Interval(mean, float(low), float(1 - from_above))


def log_wealth(values: npt.ArrayLike, mean: float, *, above: bool) -> float:
    """The logarithm of what betting against "the mean is at most `mean`" (or with not `above`: at least) has made of 1.

    It exceeds ln(1/alpha), ever, with a chance of at most alpha if the hypothesis is true of each value given those
    before it (Ville 1939); its exponential is an e-value. Values, in [0, 1], may come in any order.

    Example:
        >>> log_wealth(np.repeat([0.0, 1.0], [10, 30]), 0.5, above=True) > log(1 / 0.05)
        True
    """
    x, counts = _counted(values)
    if not above:
        x, mean = 1 - x, 1 - mean
    return float(_log_mean(_log_payoffs(x, counts) - counts.sum() * np.log1p(STAKES * mean)))


def without_replacement(values: npt.ArrayLike, population: int, alpha: float) -> Interval:
    """Bounds on the mean of a whole population of values in [0, 1] of which these were drawn, in this order.

    What was seen is certain: after i ones of N the mean is at least i / N. Section 5 of the paper.

    Example:
        >>> without_replacement(np.ones(50), 100, 0.05).low >= 0.5
        True
    """
    x = np.clip(np.asarray(values, np.float64), 0, 1)
    if not len(x):
        return Interval(0.5, 0.0, 1.0)
    wanted = log(2 / alpha)

    def least(x: Floats) -> float:
        seen = np.cumsum(x) - x
        left = population - np.arange(len(x))
        payoffs = np.log1p(np.outer(STAKES, x))
        certain, possible = x.sum() / population, (x.sum() + population - len(x)) / population

        def ever(mean: float) -> float:
            # What is left has a mean that follows from the hypothesis and from what was seen.
            rest = np.clip((mean * population - seen) / left, 0.0, 1.0)
            logs = np.cumsum(payoffs - np.log1p(np.outer(STAKES, rest)), axis=1)
            return float(_log_mean(logs).max())

        if ever(certain) < wanted or ever(possible) >= wanted:
            return float(certain if ever(certain) < wanted else possible)
        # To the side that is refused, so that rounding never makes the interval too narrow.
        return float(max(certain, brentq(lambda mean: ever(mean) - wanted, certain, possible, xtol=1e-9) - 2e-9))

    return Interval(float(x.mean()), least(x), 1 - least(1 - x))


def _counted(values: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The different values, and how often each was seen."""
    x, counts = np.unique(np.clip(np.asarray(values, np.float64), 0, 1), return_counts=True)
    return x, counts.astype(np.float64)


def _log_payoffs(x: Floats, counts: Floats) -> Floats:
    """For each stake k, the logarithm of the product of 1 + k x, each x as often as counted.

    A bet against the mean m multiplies by (1 + k x) / (1 + k m), which is worth at most 1 on average if the mean is at
    most m. So one pass over the values serves every m.
    """
    # In blocks, which stay in the processor's cache.
    parts = [slice(start, start + _BLOCK) for start in range(0, len(x), _BLOCK)]
    found: Floats = np.sum([np.log1p(np.outer(STAKES, x[part])) @ counts[part] for part in parts], axis=0)
    return found


def _log_mean(logs: Floats) -> Floats:
    """Over the stakes, of logarithms."""
    most = logs.max(axis=0)
    found: Floats = most + np.log(np.exp(logs - most).mean(axis=0))
    return found


def _edges(payoffs: Floats, count: float, start: Floats, wanted: float) -> Floats:
    """For each row of payoffs the least mean in [0, 1] that is not refused.

    By Newton's steps: what betting made is a convex function that falls with the mean, so from the second step on they
    come from the side that is refused and never go beyond the edge.
    """
    means = np.clip(start, 0, 1)
    for _ in range(_MOST_STEPS):
        cost = 1 + means[:, None] * STAKES
        logs = payoffs - count * np.log(cost)
        most = logs.max(axis=1)
        worth = np.exp(logs - most[:, None])
        total = worth.sum(axis=1)
        excess = most + np.log(total / len(STAKES)) - wanted
        slope = count * (worth * STAKES / cost).sum(axis=1) / total
        before, means = means, np.clip(means + excess / slope, 0, 1)
        if np.abs(means - before).max() < _TOLERANCE:
            break
    return means
