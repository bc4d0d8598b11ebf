"""The normal mixture: a curve that a sum of noise crosses, ever, with at most a stated chance.

Howard, Ramdas, McAuliffe and Sekhon 2021, Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of
Statistics 49: 1055-1080; sections 3.2 and 3.5. `s` is the sum, `v` its intrinsic time (the sum of variances), `rho`
says where the curve is tightest. Arrays broadcast.
"""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from penstock.measures.arrays import Floats


def best_rho(v: float, alpha: float, *, one_sided: bool = False) -> float:
    """The `rho` that makes the curve tightest at intrinsic time `v`.

    Example:
        >>> round(best_rho(100, 0.05), 5)
        12.60056
    """
    level = 2 * alpha if one_sided else alpha
    return v / (2 * log(1 / level) + log(1 + 2 * log(1 / level)))


def log_mixture(s: Any, v: Any, rho: float, *, one_sided: bool = False) -> Floats:
    """The logarithm of the mixture supermartingale; it exceeds ln(1/alpha), ever, with a chance of at most alpha.

    Example:
        >>> round(float(log_mixture(10, 100, 12.60056)), 6)
        -0.651005
    """
    total = v + rho
    value = 0.5 * np.log(rho / total) + np.square(s) / (2 * total)
    if one_sided:
        value = value + np.log(2) + log_ndtr(s / np.sqrt(total))
    return np.asarray(value, np.float64)


def bound(v: Any, rho: float, alpha: float) -> Floats:
    """Where |s| crosses the two-sided curve: a closed form.

    Example:
        >>> round(float(bound(100, best_rho(100, 0.05), 0.05)), 5)
        30.35209
    """
    total = v + rho
    return np.asarray(np.sqrt(total * (np.log(total / rho) + 2 * np.log(1 / alpha))), np.float64)


def bound_one_sided(v: float, rho: float, alpha: float) -> float:
    """Where s crosses the one-sided curve.

    Example:
        >>> round(bound_one_sided(100, best_rho(100, 0.05, one_sided=True), 0.05), 4)
        27.6607
    """
    most = float(bound(v, rho, alpha))
    return float(brentq(lambda s: log_mixture(s, v, rho, one_sided=True) - np.log(1 / alpha), 0.0, most))
