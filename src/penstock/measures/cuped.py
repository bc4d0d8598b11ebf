"""Less noise from what was known before: CUPED.

Deng, Xu, Kohavi and Walker 2013, Improving the sensitivity of online controlled experiments by utilizing pre-experiment
data, WSDM: 123-132. The covariate must be from before the split, or it takes the effect away with the noise.
"""

from __future__ import annotations

import msgspec

from penstock.measures.asymptotic import Moments


class Sums(msgspec.Struct, frozen=True):
    """Of one arm: the number of units, and sums of the metric `y`, the covariate `x`, their squares and products."""

    count: int
    y: float
    yy: float
    x: float
    xx: float
    xy: float

    def moments(self, theta: float = 0.0) -> Moments:
        """Of y - theta x."""
        n, mean = self.count, (self.y - theta * self.x) / self.count
        squares = self.yy - 2 * theta * self.xy + theta**2 * self.xx
        return Moments(n, mean, (squares - n * mean**2) / (n - 1))


def slope(baseline: Sums, challenger: Sums) -> float:
    """The slope of y on x over both arms; 0 where x does not vary."""
    n = baseline.count + challenger.count
    x, y = baseline.x + challenger.x, baseline.y + challenger.y
    variance = baseline.xx + challenger.xx - x**2 / n
    return (baseline.xy + challenger.xy - x * y / n) / variance if variance > 0 else 0.0


def adjusted(baseline: Sums, challenger: Sums) -> tuple[Moments, Moments]:
    """Both arms' moments with the covariate taken out; the variance falls by the square of the correlation.

    Example:
        >>> from penstock.measures.asymptotic import lift
        >>> arms = Sums(3000, 1396.87, 52377.9767, 16.87, 527.9767, 1), Sums(3461, 2422.7, 134698.29, 22.7, 1348.29, 1)
        >>> found = lift(*adjusted(*arms), 0.05, unadjusted=(arms[0].y / 3000, arms[1].y / 3461))
        >>> round(found.estimate, 5), round(found.low, 5), round(found.high, 5)
        (0.50338, -0.50969, 1.51646)
    """
    theta = slope(baseline, challenger)
    return baseline.moments(theta), challenger.moments(theta)
