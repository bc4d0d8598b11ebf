"""One event loop's part in the prediction log: it collects and encodes, a thread of its own waits for the disk.

Encoding stays on the loop: it is short, and on a thread it would fight the loop for the interpreter's lock
(docs/decisions/records-encoded-on-the-loop.md). Writing is on the thread, because a disk may take seconds.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NoReturn

import msgspec

from penstock.core.clock import Clock, monotonic, wall
from penstock.core.errors import PenstockError
from penstock.core.routes import Arm, Recording
from penstock.core.signature import Signature
from penstock.predlog.stream import Stream
from penstock.predlog.writer import Event, RecordingLimits, Writer
from penstock.security.redaction import load_salt

_TEND_S = 1.0


class RecordCounts(msgspec.Struct, frozen=True):
    """Since the recorder began: records written, bytes written, records lost for want of room."""

    recorded: int
    recorded_bytes: int
    dropped: int


class _Flush(msgspec.Struct, frozen=True):
    frames: list[bytes]
    records: int
    size: int


class Recorder:
    """Takes the records of all versions that one event loop serves. All but the thread belongs to the loop.

    `salt` is the file of the home's salt, for hashed fields; it is read, or made, when the first field needs it.
    """

    def __init__(
        self, folder: Path, salt: Path, loop: int, limits: RecordingLimits, event: Event, clock: Clock = wall
    ) -> None:  # fmt: skip
        self._limits = limits
        self._salt_path = salt
        self._salt: bytes | None = None
        self._event = event
        self._clock = clock
        self._streams: list[Stream] = []
        self._told: set[tuple[str, str]] = set()
        self._frames: list[bytes] = []
        self._records = 0
        self._size = 0
        # Each is written by one side only, so that none needs a lock: what is pending is their difference.
        self._handed_bytes = 0
        self._taken_bytes = 0
        self._dropped_here = 0
        self._dropped_there = 0
        self._recorded = 0
        self._recorded_bytes = 0
        self._writer = Writer(folder, loop, limits, clock, event)
        self._queue: SimpleQueue[_Flush | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="records", daemon=True)

    def stream(self, endpoint: str, arm: Arm, signature: Signature, recording: Recording) -> Stream:
        """Where the calls of one loaded version are recorded, until it is closed."""
        stream = Stream(endpoint, arm, signature, recording, self)
        self._streams.append(stream)
        return stream

    async def run(self) -> NoReturn:
        """Hand over what was recorded, every `flush_s`."""
        self._thread.start()
        while True:
            await asyncio.sleep(self._limits.flush_s)
            for stream in list(self._streams):
                if stream.flush():
                    # One at a time: a node with a hundred endpoints must not stop for all of them at once.
                    await asyncio.sleep(0)
            self.hand_over()

    def counts(self) -> RecordCounts:
        """What became of the records so far."""
        return RecordCounts(self._recorded, self._recorded_bytes, self._dropped_here + self._dropped_there)

    def close(self) -> None:
        """Write what is left and end the thread; waits for the disk, so not on the event loop."""
        for stream in self._streams:
            stream.flush()
        self.hand_over()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    # ---- for streams

    def put(self, frame: bytes, records: int) -> None:
        """Take an encoded block, or drop it and count when the disk is too far behind."""
        if self._handed_bytes + self._size - self._taken_bytes + len(frame) > self._limits.pending_bytes:
            self._dropped_here += records
            return
        self._frames.append(frame)
        self._records += records
        self._size += len(frame)

    def lost(self, endpoint: str, records: int, error: Exception) -> None:
        """Count records that could not be encoded, and tell why, each reason once."""
        self._dropped_here += records
        reason = f"{type(error).__name__}: {error}"[:300]
        if (endpoint, reason) not in self._told:
            self._told.add((endpoint, reason))
            self._event("record-failed", endpoint=endpoint, reason=reason)

    def unknown_fields(self, endpoint: str, version: str, names: list[str]) -> None:
        """Tell that the routes have rules for fields which this version does not have."""
        self._event("recording-fields-unknown", endpoint=endpoint, version=version, fields=names)

    def wall_offset_s(self) -> float:
        """What turns a monotonic time into one of the wall clock, now."""
        return self._clock() - monotonic()

    def salt(self) -> bytes | None:
        """The home's salt, or None if it cannot be had: then nothing can be hashed."""
        if self._salt is None:
            try:
                self._salt_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._salt = load_salt(self._salt_path)
            except (OSError, PenstockError) as error:
                self._event("salt-unreadable", reason=str(error))
        return self._salt

    def end(self, stream: Stream) -> None:
        """Expect no more of it."""
        self._streams.remove(stream)

    # ---- the thread

    def hand_over(self) -> None:
        """Give the thread what streams have encoded."""
        if self._frames:
            self._queue.put(_Flush(self._frames, self._records, self._size))
            self._handed_bytes += self._size
            self._frames, self._records, self._size = [], 0, 0

    def _write(self) -> None:
        while True:
            try:
                flush = self._queue.get(timeout=_TEND_S)
            except Empty:
                self._writer.tend()
                continue
            if flush is None:
                break
            try:
                written = self._writer.write(flush.frames)
            except Exception as error:  # our own defect: without this thread nothing would be recorded any more
                self._event("recording-failed", reason=f"{type(error).__name__}: {error}"[:300])
                written = 0
            if written:
                self._recorded += flush.records
                self._recorded_bytes += written
            else:
                self._dropped_there += flush.records
            self._taken_bytes += flush.size
            self._writer.tend()
        self._writer.close()
