"""Means, and differences of means, at every sample size at once: asymptotic confidence sequences.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Time-uniform central limit theory and asymptotic confidence
sequences, Annals of Statistics 52: 2613-2640; with the tuning of GrowthBook, which makes the interval tightest at
`best_at` samples. Asymptotic means: from some hundred samples on, whatever the distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt

import msgspec

from penstock.measures.interval import Interval

BEST_AT = 5000.0


class Moments(msgspec.Struct, frozen=True):
    """How many values, their mean, and their variance (with n - 1)."""

    count: int
    mean: float
    variance: float


def half_width(count: float, deviation: float, alpha: float, best_at: float = BEST_AT) -> float:
    """Half the width of the confidence sequence of a mean of `count` values with this standard deviation.

    Example:
        >>> round(half_width(6461, 0.3334122146 * 6461**0.5, 0.05, 1000), 5)
        1.0618
    """
    square = (-2 * log(alpha) + log(1 - 2 * log(alpha))) / best_at
    inside = count * square + 1
    return deviation * sqrt(2 * inside / (count**2 * square) * log(sqrt(inside) / alpha))


def difference(strata: Sequence[tuple[Moments, Moments]], alpha: float, best_at: float = BEST_AT / 4) -> Interval:
    """The difference of two means, second less first, each pair of `strata` compared among itself.

    Strata are weighted by n0 n1 / (n0 + n1) (Mantel and Haenszel 1959), which is also what `best_at` counts: a quarter
    of all values where arms are equal. The weighted sum of differences has independent increments in its variance, so
    the sequence holds over strata, too. Without two values in each arm of some stratum, anything is possible.

    Example:
        >>> one = Moments(4000, 0.07, 0.0651), Moments(4000, 0.09, 0.0819)
        >>> found = difference([one], 0.05)
        >>> round(found.estimate, 4), round(found.low, 4), round(found.high, 4)
        (0.02, 0.0015, 0.0385)
    """
    usable = [(one, two) for one, two in strata if one.count > 1 and two.count > 1]
    if not usable:
        return Interval(0.0, float("-inf"), float("inf"))
    weights = [one.count * two.count / (one.count + two.count) for one, two in usable]
    total = sum(weights)
    sums, variance = 0.0, 0.0
    for weight, (one, two) in zip(weights, usable, strict=True):
        sums += weight * (two.mean - one.mean)
        variance += weight**2 * (one.variance / one.count + two.variance / two.count)
    half = half_width(total, sqrt(variance / total), alpha, best_at)
    return Interval(sums / total, sums / total - half, sums / total + half)


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
    estimate = (challenger.mean - baseline.mean) / base
    variance = challenger.variance / challenger.count / base**2
    variance += baseline.variance / baseline.count * other**2 / base**4
    count = baseline.count + challenger.count
    half = half_width(count, sqrt(variance * count), alpha, best_at)
    return Interval(estimate, estimate - half, estimate + half)
