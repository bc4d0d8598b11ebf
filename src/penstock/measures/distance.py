"""How far apart two distributions are, with bounds that hold at every sample size at once.

Each empirical distribution lies within a band of the true one (`stitching.empirical_process`); what is beyond both
bands is a difference. For numbers the distance is Kolmogorov's and Smirnov's, for labels the total variation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

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


def _within(estimate: float, first: int, second: int, alpha: float) -> Interval:
    width = empirical_process(first, alpha / 2, T_MIN) + empirical_process(second, alpha / 2, T_MIN)
    return Interval(estimate, max(0.0, estimate - width), min(1.0, estimate + width))
