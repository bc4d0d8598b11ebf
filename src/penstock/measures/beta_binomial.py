"""One rate: a confidence sequence that holds at every count, small ones included.

The beta-binomial mixture of Howard, Ramdas, McAuliffe and Sekhon 2021 (see `normal_mixture`), proposition 7, for sums
of steps in [-g, h] with mean 0.
"""

from __future__ import annotations

from math import inf, log

from scipy.optimize import brentq
from scipy.special import betainc, betaln

from penstock.measures.interval import Interval
from penstock.measures.normal_mixture import best_rho

_EDGE = 1e-12


def log_mixture(s: float, v: float, rho: float, g: float, h: float, *, one_sided: bool = False) -> float:
    """The logarithm of the mixture supermartingale.

    Example:
        >>> round(log_mixture(10, 100, best_rho(100, 0.05), 0.2, 0.8), 6)
        -0.694101
    """
    r = max(rho - g * h, 1e-3 * g * h)
    width = g + h
    up, down = (v + h * s) / (h * width), (v - g * s) / (g * width)
    before, after = (r / (g * width), r / (h * width)), ((r + v - g * s) / (g * width), (r + v + h * s) / (h * width))
    value = v / (g * h) * log(width) - up * log(g) - down * log(h) + float(betaln(*after) - betaln(*before))
    if one_sided:
        part = float(betainc(*after, h / width))
        value += log(part / betainc(*before, h / width)) if part else -inf
    return value


def bound(v: float, rho: float, g: float, h: float, alpha: float, *, one_sided: bool = False) -> float:
    """Where a sum crosses the curve at intrinsic time `v`; infinite where no sum so early can.

    Example:
        >>> round(bound(100, best_rho(100, 0.05), 0.2, 0.8, 0.05), 4)
        31.4308
        >>> round(bound(100, best_rho(100, 0.05, one_sided=True), 0.2, 0.8, 0.05, one_sided=True), 4)
        28.4124
    """
    most = v / g * (1 - _EDGE)
    wanted = log(1 / alpha)
    if log_mixture(most, v, rho, g, h, one_sided=one_sided) < wanted:
        return float("inf")
    return float(brentq(lambda s: log_mixture(s, v, rho, g, h, one_sided=one_sided) - wanted, 0.0, most))


def rate_interval(successes: int, trials: int, alpha: float, best_at: float = 100) -> Interval:
    """Bounds on a rate that hold at every number of trials at once, tightest near `best_at` trials.

    Example:
        >>> found = rate_interval(700, 1000, 0.05)
        >>> round(found.low, 6), round(found.high, 6)
        (0.65163, 0.74595)
    """
    if not trials:
        return Interval(0.5, 0.0, 1.0)
    rate = successes / trials

    def excess(p: float) -> float:
        variance = p * (1 - p)
        # The curve is always the one that is best at 0.05, so that several levels of one sequence are nested.
        rho = best_rho(best_at * variance, 0.05)
        return log_mixture(successes - trials * p, trials * variance, rho, p, 1 - p) - log(1 / alpha)

    inside = min(max(rate, 2 * _EDGE), 1 - 2 * _EDGE)
    low = brentq(excess, _EDGE, inside) if successes and excess(_EDGE) > 0 else 0.0
    high = brentq(excess, inside, 1 - _EDGE) if successes < trials and excess(1 - _EDGE) > 0 else 1.0
    return Interval(rate, float(low), float(high))
