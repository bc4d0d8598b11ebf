"""Curves for sums with skewed tails: sub-exponential and sub-Poisson noise of scale `c`.

Howard, Ramdas, McAuliffe and Sekhon 2021 (see `normal_mixture`), propositions 8 and 10. One-sided.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy import log
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc, gammaln

Curve = Callable[[float, float, float, float], float]


def log_gamma_exponential(s: float, v: float, rho: float, c: float) -> float:
    """The logarithm of the gamma-exponential mixture.

    Example:
        >>> from penstock.measures.normal_mixture import best_rho
        >>> round(log_gamma_exponential(10, 100, best_rho(100, 0.05, one_sided=True), 2), 6)
        -0.249016
    """
    r, later, sum_ = rho / c**2, (v + rho) / c**2, (c * s + v) / c**2
    constant = r * log(r) - gammaln(r) - log(gammainc(r, r))
    return float(constant + gammaln(later) + log(gammainc(later, sum_ + r)) - later * log(sum_ + r) + sum_)


def log_gamma_poisson(s: float, v: float, rho: float, c: float) -> float:
    """The logarithm of the gamma-Poisson mixture.

    Example:
        >>> from penstock.measures.normal_mixture import best_rho
        >>> round(log_gamma_poisson(10, 100, best_rho(100, 0.05, one_sided=True), 2), 6)
        -0.069912
    """
    r, later = rho / c**2, (v + rho) / c**2
    sum_ = s / c + later
    constant = r * log(r) - gammaln(r) - log(gammaincc(r, r))
    return float(constant + gammaln(sum_) + log(gammaincc(sum_, later)) - sum_ * log(later) + v / c**2)


def bound(curve: Curve, v: float, rho: float, c: float, alpha: float) -> float:
    """Where a sum crosses the curve at intrinsic time `v`.

    Example:
        >>> from penstock.measures.normal_mixture import best_rho
        >>> round(bound(log_gamma_exponential, 100, best_rho(100, 0.05, one_sided=True), 2, 0.05), 5)
        33.02017
    """
    high = v + rho
    while curve(high, v, rho, c) < log(1 / alpha):
        high *= 2
    return float(brentq(lambda s: curve(s, v, rho, c) - log(1 / alpha), 0.0, high))
