"""What the streams of one connection may send.

Every stream may send one window; what a larger message lacks is granted at once, but only to as many messages as fit
into `room_bytes` (or to one), in the order they came. So a hundred large uploads wait for each other and none stands
still halfway. The window of the whole connection is no limit: it would be one that streams take from each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from penstock.serving.http2 import frames
from penstock.serving.http2.frames import LARGEST_WINDOW, WINDOW_BYTES
from penstock.serving.http2.stream import Stream


class Grants:
    """See the module."""

    def __init__(self, write: Callable[[bytes], None], room_bytes: int) -> None:
        self._write = write
        self._room_bytes = room_bytes
        self._window = WINDOW_BYTES
        self._granted = 0
        self._waiting: deque[tuple[Stream, int]] = deque()

    def open(self) -> None:
        """Let the connection as such send as much as there may be."""
        self._write(frames.window_update(0, LARGEST_WINDOW - self._window))
        self._window = LARGEST_WINDOW

    def take(self, size: int) -> None:
        """So many bytes came. They cannot be too many: the window never falls to the size of a frame."""
        self._window -= size
        if self._window < LARGEST_WINDOW // 2:
            self.open()

    def allow(self, stream: Stream, size: int) -> None:
        """Let the client send the `size` bytes that a message still lacks, as soon as there is room for them."""
        lacking = size - stream.window
        if lacking <= 0 or stream.waiting:
            return
        if self._fits(lacking):
            self._grant(stream, lacking)
        else:
            stream.waiting = True
            self._waiting.append((stream, lacking))

    def renew(self, stream: Stream) -> None:
        """Let the client send as much as at first: what it sent was taken, and nothing of a message is kept."""
        if stream.window < WINDOW_BYTES // 2 and not stream.closed and not stream.ended:
            self._write(frames.window_update(stream.number, WINDOW_BYTES - stream.window))
            stream.window = WINDOW_BYTES

    def free(self, stream: Stream) -> None:
        """A message that had more than the others is here, or will not come: let others have the room."""
        self._granted -= stream.granted
        stream.granted = 0
        if stream.waiting:
            stream.waiting = False
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not stream)
        while self._waiting and self._fits(self._waiting[0][1]):
            first, lacking = self._waiting.popleft()
            first.waiting = False
            self._grant(first, lacking)

    def _fits(self, size: int) -> bool:
        return not self._granted or self._granted + size <= self._room_bytes

    def _grant(self, stream: Stream, size: int) -> None:
        self._granted += size
        stream.granted += size
        stream.window += size
        self._write(frames.window_update(stream.number, size))
