"""One kind of split for every library: a double threshold compared with `<=` to a double feature.

Libraries that round features to float32 first still split the doubles in two halves, because rounding is monotonic;
so each of their splits equals `x <= b` for one double `b`, and the graph needs neither casts nor float32 trees.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def float32_at_most(thresholds: npt.ArrayLike) -> Doubles:
    """For each threshold t the largest double b with: `x <= b` exactly when `float32(x) <= t`.

    Let f be the largest float32 that is <= t and g the next one. Doubles between them round to f below the midpoint,
    and at the midpoint if f is the even one (IEEE 754, round half to even).

    Example:
        >>> t = np.float64(0.1)
        >>> b = float32_at_most([t])[0]
        >>> bool(np.float32(b) <= t), bool(np.float32(np.nextafter(b, 1)) <= t)
        (True, False)
    """
    exact = np.asarray(thresholds, np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
        below = np.where(nearest.astype(np.float64) > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return _last_that_rounds_to(below.astype(np.float32))


def float32_less(thresholds: npt.ArrayLike) -> Doubles:
    """For each float32 threshold t the largest double b with: `x <= b` exactly when `float32(x) < t`.

    Example:
        >>> b = float32_less([0.5])
        >>> bool(np.float32(b[0]) < 0.5), bool(np.float32(np.nextafter(b[0], 1)) < 0.5)
        (True, False)
    """
    with np.errstate(over="ignore"):
        below = np.nextafter(np.asarray(thresholds, np.float32), np.float32(-np.inf))
    return _last_that_rounds_to(below)


def _last_that_rounds_to(values: npt.NDArray[np.float32]) -> Doubles:
    with np.errstate(over="ignore"):
        following = np.nextafter(values, np.float32(np.inf)).astype(np.float64)
    # The step above the largest float32 leads to infinity; rounding treats it as if floats went on to 2**128.
    following[np.isposinf(following) & np.isfinite(values)] = 2.0**128
    own = values.astype(np.float64)
    with np.errstate(invalid="ignore"):
        middle = own + (following - own) / 2
    middle[np.isinf(own)] = own[np.isinf(own)]
    even = values.view(np.uint32) % 2 == 0
    return np.where(even | np.isinf(own), middle, np.nextafter(middle, -np.inf))
