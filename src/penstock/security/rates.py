"""Rate limits: a token bucket as one number, so that processes can share it in memory.

A bucket of `burst` tokens that fills at `per_s` tokens a second is told wholly by the moment at which it will be full
again: at `now` it lacks `(full_at - now) * per_s` tokens. This is the virtual scheduling form of the generic cell rate
algorithm (ITU-T I.371, annex A), which is equal to the token bucket.
"""

from __future__ import annotations

import msgspec


class Rate(msgspec.Struct, frozen=True, gc=False):
    """`per_s` calls a second in the long run, `burst` at once."""

    per_s: float
    burst: float


def rate_of(per_s: float) -> Rate:
    """The rate with a burst of what one second allows, and one call at least."""
    return Rate(per_s, max(1.0, per_s))


def take(full_at: float, rate: Rate, now: float) -> tuple[float, float]:
    """Take one token: the bucket's new number, and 0; or the same bucket and the seconds until there is a token.

    `now` may come from any clock that goes forward. If it goes back all the same, the bucket is at worst empty.

    Example:
        >>> rate = Rate(per_s=2, burst=1)
        >>> full_at, wait_s = take(0.0, rate, now=100.0)
        >>> wait_s, take(full_at, rate, now=100.1)[1]
        (0.0, 0.4)
    """
    # Not fuller than full, not emptier than empty: the latter after a restart of the machine, or of its clock.
    begin = min(max(full_at, now), now + rate.burst / rate.per_s)
    after = begin + 1 / rate.per_s
    wait_s = after - now - rate.burst / rate.per_s
    # A hair of rounding must not refuse the last token of a full bucket.
    if wait_s > 1e-9:
        return begin, round(wait_s, 9)
    return after, 0.0
