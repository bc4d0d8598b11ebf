"""Curves of the size of the law of the iterated logarithm: by polynomial stitching, and for a whole distribution."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import zeta


def poly_stitching(v: float, alpha: float, v_min: float, c: float = 0.0, s: float = 1.4, eta: float = 2.0) -> float:
    """The bound on a sum at intrinsic time `v`, tightest near `v_min`; `c` is the scale of sub-gamma noise.

    Howard, Ramdas, McAuliffe and Sekhon 2021 (see `normal_mixture`), theorem 1, equation 10.

    Example:
        >>> round(poly_stitching(100, 0.05, 10, 3), 5), round(poly_stitching(100, 0.05, 10, -1), 5)
        (64.48755, 28.99389)
    """
    first = (eta**0.25 + eta**-0.25) / np.sqrt(2)
    second = (np.sqrt(eta) + 1) / 2
    used = max(v, v_min)
    log_term = s * np.log(np.log(eta * used / v_min)) + np.log(zeta(s) / (alpha * np.log(eta) ** s))
    linear = second * c * log_term
    return float(np.sqrt(first**2 * used * log_term + linear**2) + linear)


def empirical_process(t: float, alpha: float, t_min: float, a: float = 0.85) -> float:
    """How far an empirical distribution of `t` values lies from the true one, anywhere and at any t >= t_min.

    Howard and Ramdas 2022, Sequential estimation of quantiles, Bernoulli 28: 1704-1728, theorem 2.

    Example:
        >>> round(empirical_process(1000, 0.05, 100), 5)
        0.08205
    """
    if t < t_min:
        return 1.0
    return float(min(1.0, a * np.sqrt((np.log(np.log(np.e * t / t_min)) + _constant(alpha, a)) / t)))


@lru_cache(maxsize=256)
def _constant(alpha: float, a: float) -> float:
    """The least C for which the theorem's error probability is `alpha`."""
    eta = np.linspace(1.0001, 1.5, 5000)

    def excess(c: float) -> float:
        root = a - np.sqrt(2 * (eta - 1) / c)
        with np.errstate(divide="ignore", invalid="ignore"):
            square = 2 / eta * root**2
            chance = 4 * np.exp(-square * c) * (1 + 1 / ((square - 1) * np.log(eta)))
        return float(np.log(np.min(chance[(root > 0) & (square > 1)]) / alpha))

    return float(brentq(excess, 5.5, 200.0))
