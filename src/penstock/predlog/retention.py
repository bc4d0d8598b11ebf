"""Which segments are given up for the bounds of a node's log: the oldest closed ones, by age and by size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.predlog.segment import Segment, list_segments, segment_name


def given_up(segments: Sequence[Segment], now_s: float, max_age_s: float, max_bytes: int) -> list[Segment]:
    """The closed segments to delete so that those left are younger than `max_age_s` and take at most `max_bytes`.

    `segments` are in their order, the oldest first. What is still written counts, and stays.
    """
    # As text, like the names: they sort by time.
    oldest_start = segment_name(0, max(now_s - max_age_s, 0), 0).start
    excess = sum(segment.size for segment in segments) - max_bytes
    found = []
    for segment in segments:
        if segment.closed and (segment.name.start < oldest_start or excess > 0):
            found.append(segment)
            excess -= segment.size
    return found


def enforce(folder: Path, now_s: float, max_age_s: float, max_bytes: int) -> list[Segment]:
    """Delete what `given_up` names from one node's folder, and return it; raises OSError.

    Several event loops may do so at once: what another one deleted meanwhile is no failure.
    """
    found = given_up(list_segments(folder), now_s, max_age_s, max_bytes)
    for segment in found:
        segment.path.unlink(missing_ok=True)
    return found
