"""How far apart two distributions are, with bounds that hold at every sample size at once.

Each empirical distribution lies within a band of the true one (`stitching.empirical_process`); what is beyond both
bands is a difference. For numbers the distance is Kolmogorov's and Smirnov's; for labels the total variation, or the
largest gap of one label.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from penstock.measures.beta_binomial import rate_interval
from penstock.measures.interval import Interval
from penstock.measures.stitching import empirical_process

T_MIN = 100.0


def kolmogorov_smirnov(baseline: npt.ArrayLike, challenger: npt.ArrayLike, alpha: float) -> Interval:
    """The largest difference of the two distribution functions.

    Example:
        >>> kolmogorov_smirnov(np.arange(5000), np.arange(5000) + 2500, 0.05).estimate
        0.5
    """
    first, second = np.sort(np.asarray(baseline, np.float64)), np.sort(np.asarray(challenger, np.float64))
    if not len(first) or not len(second):
        return Interval(0.0, 0.0, 1.0)
    points = np.concatenate([first, second])
    steps = np.searchsorted(first, points, "right") / len(first) - np.searchsorted(second, points, "right") / len(
        second
    )
    return _within(float(np.abs(steps).max()), len(first), len(second), alpha)


def total_variation(baseline: Mapping[str, int], challenger: Mapping[str, int], alpha: float) -> Interval:
    """The largest difference of the two probabilities of any set of labels.

    The bands are those of one set; over k labels there are 2^k sets, which the level is divided by.

    Example:
        >>> round(total_variation({"a": 700, "b": 300}, {"a": 500, "b": 500}, 0.05).estimate, 3)
        0.2
    """
    first, second = sum(baseline.values()), sum(challenger.values())
    if not first or not second:
        return Interval(0.0, 0.0, 1.0)
    names = {*baseline, *challenger}
    gaps = [challenger.get(name, 0) / second - baseline.get(name, 0) / first for name in names]
    # A set and the rest have the same difference: half of all sets are enough.
    level = alpha / 2 ** min(len(names) - 1, 200)
    return _within(sum(gap for gap in gaps if gap > 0), first, second, level)


def largest_gap(baseline: Mapping[str, int], challenger: Mapping[str, int], alpha: float) -> Interval:
    """The largest difference of the two probabilities of one label (L-infinity); holds from the first value on.

    Each label's rate has a sequence of its own in each arm, all with an equal part of alpha.

    Example:
        >>> found = largest_gap({"a": 700, "b": 300}, {"a": 500, "b": 500}, 0.05)
        >>> round(found.estimate, 3), found.low > 0.05
        (0.2, True)
    """
    first, second = sum(baseline.values()), sum(challenger.values())
    if not first or not second:
        return Interval(0.0, 0.0, 1.0)
    names = sorted({*baseline, *challenger})
    level = alpha / (2 * len(names))
    low, high, estimate = 0.0, 0.0, 0.0
    for name in names:
        one = rate_interval(baseline.get(name, 0), first, level)
        two = rate_interval(challenger.get(name, 0), second, level)
        estimate = max(estimate, abs(two.estimate - one.estimate))
        low = max(low, two.low - one.high, one.low - two.high)
        high = max(high, two.high - one.low, one.high - two.low)
    return Interval(estimate, low, high)


def jensen_shannon(baseline: Mapping[str, int], challenger: Mapping[str, int], base: float = 2.0) -> float:
    """The square root of the Jensen-Shannon divergence of what was seen; without bounds, to be compared with others.

    Endres and Schindelin 2003, A new metric for probability distributions, IEEE Transactions on Information Theory 49.

    Example:
        >>> jensen_shannon({"a": 1}, {"b": 1}), round(jensen_shannon({"a": 2}, {"a": 1, "b": 1}, np.e), 6)
        (1.0, 0.464501)
    """
    names = sorted({*baseline, *challenger})
    one, two = (np.array([counts.get(name, 0) for name in names], np.float64) for counts in (baseline, challenger))
    one, two = one / one.sum(), two / two.sum()
    middle = (one + two) / 2
    nats = sum(float(part[part > 0] @ np.log(part[part > 0] / middle[part > 0])) / 2 for part in (one, two))
    return float(np.sqrt(max(0.0, nats) / np.log(base)))


def _within(estimate: float, first: int, second: int, alpha: float) -> Interval:
    width = empirical_process(first, alpha / 2, T_MIN) + empirical_process(second, alpha / 2, T_MIN)
    return Interval(estimate, max(0.0, estimate - width), min(1.0, estimate + width))
