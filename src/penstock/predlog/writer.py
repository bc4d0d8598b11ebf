"""Where one event loop's blocks go: the current segment, the next one, and what happens when the disk says no."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from penstock.core.clock import Clock
from penstock.predlog.retention import enforce
from penstock.predlog.segment import HEADER_BYTES, SegmentWriter, list_segments, segment_name

RETRY_S = 1.0
RETENTION_S = 60.0

Event = Callable[..., Any]
"""Called with an event's name and its fields, as `serving.log.Log.event`."""


class RecordingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What the prediction log of a node may take: on disk, in memory, and in time until it is written.

    `max_bytes` and `max_age_s` bound the node's folder; a segment is closed after `segment_bytes` or `segment_age_s`;
    `pending_bytes` is the memory of one event loop for what is not written yet; `flush_s` how long it waits at most.
    """

    max_bytes: int = 10 * 10**9
    max_age_s: float = 30 * 86_400.0
    segment_bytes: int = 64 * 2**20
    segment_age_s: float = 300.0
    pending_bytes: int = 64 * 2**20
    flush_s: float = 0.05


class Writer:
    """Appends blocks to segments of its own in `folder`. Not for several threads.

    Nothing here raises for the disk's sake: what cannot be written is given back, and tried again with the next
    blocks, a second later, when there may be room.
    """

    def __init__(self, folder: Path, loop: int, limits: RecordingLimits, clock: Clock, event: Event) -> None:
        self._folder = folder
        self._loop = loop
        self._limits = limits
        self._clock = clock
        self._event = event
        self._segment: SegmentWriter | None = None
        self._began_s = 0.0
        self._sequence = 0
        self._failing = False
        self._retry_s = 0.0
        self._retention_s = 0.0

    def write(self, frames: list[bytes]) -> int:
        """Append blocks; returns the bytes written, 0 if they are lost."""
        now = self._clock()
        # Neither a clock that was set back nor a disk that fails for hours may make every flush try and fail.
        if self._failing and self._retry_s - RETRY_S <= now < self._retry_s:
            return 0
        try:
            written = self._segment_for(sum(map(len, frames)), now).append(frames)
        except OSError as error:
            self._give_up(error, now)
            return 0
        if self._failing:
            self._failing = False
            self._event("recording-resumed", folder=str(self._folder))
        return written

    def tend(self) -> None:
        """Close a segment that is old enough, delete what is beyond the bounds; to be called now and then."""
        now = self._clock()
        if self._segment is not None and not 0 <= now - self._began_s < self._limits.segment_age_s:
            self.close()
        if not 0 <= now - self._retention_s < RETENTION_S:
            self._retention_s = now
            self._enforce(now)

    def close(self) -> None:
        """Close the current segment. A later block begins a new one."""
        segment, self._segment = self._segment, None
        if segment is None:
            return
        if segment.size == HEADER_BYTES:
            # Its first block did not fit on the disk.
            with contextlib.suppress(OSError):
                segment.path.unlink()
        segment.close()

    def _segment_for(self, size: int, now: float) -> SegmentWriter:
        segment, limits = self._segment, self._limits
        if segment is not None and segment.size > HEADER_BYTES and segment.size + size > limits.segment_bytes:
            self.close()
            self._enforce(now)
        if self._segment is None:
            self._segment = self._open(now)
        return self._segment

    def _open(self, now: float) -> SegmentWriter:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._sequence:
            own = [segment.name.sequence for segment in list_segments(self._folder) if segment.name.loop == self._loop]
            self._sequence = max(own, default=0)
        self._sequence += 1
        self._began_s = now
        return SegmentWriter(self._folder, segment_name(self._loop, now, self._sequence))

    def _give_up(self, error: OSError, now: float) -> None:
        if not self._failing:
            self._failing = True
            self._event("recording-failed", folder=str(self._folder), reason=str(error))
        self._retry_s = now + RETRY_S
        # A file that failed once is not trusted again: what is in it is whole.
        self.close()

    def _enforce(self, now: float) -> None:
        try:
            gone = enforce(self._folder, now, self._limits.max_age_s, self._limits.max_bytes)
        except OSError as error:
            self._event("retention-failed", folder=str(self._folder), reason=str(error))
            return
        if gone:
            size = sum(segment.size for segment in gone)
            self._event("segments-deleted", segments=len(gone), bytes=size, last=gone[-1].path.name)
