"""Means, and differences of means, at every sample size at once: asymptotic confidence sequences.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit theory and asymptotic confidence
sequences, Annals of Statistics 52: 2613-2640; with the tuning of GrowthBook, which makes the interval tightest at
`best_at` samples. Asymptotic means: from some hundred samples on, whatever the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, log, sqrt
from typing import Any

import msgspec
import numpy as np

from penstock.measures.interval import Interval

BEST_AT = 5000.0


class Moments(msgspec.Struct, frozen=True):
    """How many values, their mean, and their variance (with n - 1)."""

    count: int
    mean: float
    variance: float


def half_width(count: Any, deviation: Any, alpha: float, best_at: float = BEST_AT) -> Any:
    """Half the width of the confidence sequence of a mean of `count` values with this standard deviation.

    Arrays broadcast.

    Example:
        >>> round(float(half_width(6461, 0.3334122146 * 6461**0.5, 0.05, 1000)), 5)
        1.0618
        >>> half_width(np.array([100, 10_000]), 1.0, 0.05).round(3).tolist()
        [0.669, 0.031]
    """
    square = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / best_at
    inside = count * square + 1
    return deviation * np.sqrt(2 * inside / (count**2 * square) * np.log(np.sqrt(inside) / alpha))


def mean(values: Moments, alpha: float, best_at: float = BEST_AT) -> Interval:
    """The mean of values; without two of them that differ, anything is possible.

    Example:
        >>> found = mean(Moments(10_000, 5.0, 4.0), 0.05)
        >>> round(found.low, 3), round(found.high, 3)
        (4.939, 5.061)
    """
    if values.count < 2:
        return _around(values.mean, inf)
    return _around(values.mean, half_width(values.count, sqrt(values.variance), alpha, best_at))


def difference(strata: Sequence[tuple[Moments, Moments]], alpha: float, best_at: float = BEST_AT / 4) -> Interval:
    """The difference of two means, second less first, each pair of `strata` compared among itself.

    Strata are weighted by n0 n1 / (n0 + n1) (Mantel and Haenszel 1959), which is also what `best_at` counts: a quarter
    of all values where arms are equal. The weighted sum of differences has independent increments in its variance, so
    the sequence holds over strata, too. Without two values in each arm of some stratum, or where no value differs from
    another, anything is possible.

    Example:
        >>> one = Moments(4000, 0.07, 0.0651), Moments(4000, 0.09, 0.0819)
        >>> found = difference([one], 0.05)
        >>> round(found.estimate, 4), round(found.low, 4), round(found.high, 4)
        (0.02, 0.0015, 0.0385)
    """
    usable = [(one, two) for one, two in strata if one.count > 1 and two.count > 1]
    if not usable:
        return _around(0.0, inf)
    weights = [one.count * two.count / (one.count + two.count) for one, two in usable]
    total = sum(weights)
    sums, variance = 0.0, 0.0
    for weight, (one, two) in zip(weights, usable, strict=True):
        sums += weight * (two.mean - one.mean)
        variance += weight**2 * (one.variance / one.count + two.variance / two.count)
    return _around(sums / total, half_width(total, sqrt(variance / total), alpha, best_at))


def relative(strata: Sequence[tuple[Moments, Moments]], alpha: float, best_at: float = BEST_AT / 4) -> Interval:
    """By what part of the first mean the second is larger, of values that are not below 0.

    Every r for which the difference of the second and of (1 + r) times the first may be 0 (Fieller 1954, Some problems
    in interval estimation, Journal of the Royal Statistical Society B 16: 175-185): neither mean is taken as known, and
    what holds of `difference` at every sample size holds of this.

    Example:
        >>> found = relative([(Moments(4000, 10.0, 25.0), Moments(4000, 12.0, 36.0))], 0.05)
        >>> round(found.estimate, 3), round(found.low, 3), round(found.high, 3)
        (0.2, 0.16, 0.242)
    """
    usable = [(one, two) for one, two in strata if one.count > 1 and two.count > 1]
    base = sum(one.count * two.count / (one.count + two.count) * one.mean for one, two in usable)
    if base <= 0:
        return _around(0.0, inf)
    estimate = sum(one.count * two.count / (one.count + two.count) * two.mean for one, two in usable) / base - 1

    def side(r: float) -> int:
        found = difference([(_times(one, 1 + r), two) for one, two in usable], alpha, best_at)
        return (found.low > 0) - (found.high < 0)

    # Where the first is known so badly that it might be 0, nothing bounds the ratio.
    top = next((estimate + 2.0**step for step in range(-10, 20) if side(estimate + 2.0**step) < 0), inf)
    low = _edge(side, -1.0, estimate) if side(-1.0) > 0 else -1.0
    return Interval(estimate, low, _edge(side, top, estimate) if top < inf else inf)


def _edge(side: Callable[[float], int], outside: float, inside: float) -> float:
    """Between a point that is outside the interval and one within, where it ends; a little outside."""
    for _ in range(50):
        middle = (outside + inside) / 2
        if side(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _times(values: Moments, factor: float) -> Moments:
    return Moments(values.count, values.mean * factor, values.variance * factor**2)


def lift(
    baseline: Moments,
    challenger: Moments,
    alpha: float,
    best_at: float = BEST_AT,
    unadjusted: tuple[float, float] | None = None,
) -> Interval:
    """The relative difference (challenger - baseline) / baseline, by the delta method; `best_at` counts both arms.

    After `cuped.adjusted`, `unadjusted` are the means as they were: what is relative is relative to those.

    Example:
        >>> proportions = [Moments(n, k / n, k / n * (1 - k / n)) for k, n in ((1396, 3000), (2422, 3461))]
        >>> found = lift(*proportions, 0.05)
        >>> round(found.estimate, 5), round(found.low, 5), round(found.high, 5)
        (0.50386, 0.40098, 0.60675)
    """
    base, other = unadjusted if unadjusted is not None else (baseline.mean, challenger.mean)
    if not base:
        return _around(0.0, inf)
    estimate = (challenger.mean - baseline.mean) / base
    variance = challenger.variance / challenger.count / base**2
    variance += baseline.variance / baseline.count * other**2 / base**4
    count = baseline.count + challenger.count
    return _around(estimate, half_width(count, sqrt(variance * count), alpha, best_at))


def _around(estimate: float, half: float) -> Interval:
    # Values that were all the same say nothing of how much they vary, and so nothing of their mean.
    width = float(half) if half > 0 else inf
    return Interval(estimate, estimate - width, estimate + width)
