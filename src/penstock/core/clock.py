"""Time as a value that is passed in, so that tests advance it and never sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
"""Returns seconds; monotonic for durations, since the epoch for dates."""

monotonic: Clock = time.monotonic
wall: Clock = time.time


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds.

    Example:
        >>> timestamp(0)
        '1970-01-01T00:00:00.000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
