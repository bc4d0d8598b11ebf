"""The test of the textbooks, for one look at a size that was fixed before: to be compared with, not to be peeked at."""

from __future__ import annotations

from math import ceil, sqrt

from scipy.stats import norm

from penstock.measures.asymptotic import Moments


def two_rates(successes: tuple[int, int], trials: tuple[int, int], *, one_sided: bool = True) -> float:
    """The p-value of "the second rate is not higher" (or: the rates are equal), with the pooled variance.

    Example:
        >>> round(two_rates((70, 90), (1000, 1000)), 4)
        0.0496
    """
    one, two = successes[0] / trials[0], successes[1] / trials[1]
    pooled = sum(successes) / sum(trials)
    variance = pooled * (1 - pooled) * (1 / trials[0] + 1 / trials[1])
    return _p_value(two - one, variance, one_sided=one_sided)


def two_means(baseline: Moments, challenger: Moments, *, one_sided: bool = True) -> float:
    """The p-value of "the second mean is not higher" (or: the means are equal).

    Example:
        >>> round(two_means(Moments(400, 10.0, 25.0), Moments(400, 10.7, 25.0), one_sided=False), 4)
        0.0477
    """
    variance = baseline.variance / baseline.count + challenger.variance / challenger.count
    return _p_value(challenger.mean - baseline.mean, variance, one_sided=one_sided)


def needed(baseline: float, challenger: float, alpha: float, power: float) -> int:
    """How many trials each arm needs to find a difference of two rates, one-sided.

    Example:
        >>> needed(0.07, 0.09, 0.05, 0.95)
        3980
    """
    pooled = (baseline + challenger) / 2
    variance = baseline * (1 - baseline) + challenger * (1 - challenger)
    spread = norm.isf(alpha) * sqrt(2 * pooled * (1 - pooled)) + norm.ppf(power) * sqrt(variance)
    return ceil(float(spread / (challenger - baseline)) ** 2)


def needed_for_means(difference: float, variance: float, alpha: float, power: float) -> int:
    """How many values each arm needs to find a difference of two means, one-sided.

    Example:
        >>> needed_for_means(0.5, 1.0, 0.05, 0.8)
        50
    """
    return ceil(2 * variance * (float(norm.isf(alpha) + norm.ppf(power)) / difference) ** 2)


def _p_value(difference: float, variance: float, *, one_sided: bool) -> float:
    if not variance:
        return 1.0
    z = difference / sqrt(variance)
    return float(norm.sf(z)) if one_sided else float(2 * norm.sf(abs(z)))
