"""An interval and the number it is about."""

from __future__ import annotations

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """The truth lies between `low` and `high`, with the confidence that whoever made it was asked for."""

    estimate: float
    low: float
    high: float
