"""Answers on their way out: as much at a time as the client takes, in the connection and in each stream."""

from __future__ import annotations

from collections.abc import Callable

from penstock.core.clock import Clock
from penstock.serving.http2 import frames
from penstock.serving.http2.frames import FRAME_BYTES, LARGEST_WINDOW, WINDOW_BYTES, Http2Error, head
from penstock.serving.http2.stream import Stream

# It says that our table of header fields has no room (RFC 7541, 6.3): a client may allow less than we could use.
_NO_TABLE = b"\x20"


class Sending:
    """See the module. `done` is called when the last frame of a stream was written; `frames` counts those of DATA."""

    def __init__(self, write: Callable[[bytes], None], done: Callable[[Stream], None], clock: Clock) -> None:
        self.stream_credit = WINDOW_BYTES
        self.frame_bytes = FRAME_BYTES
        self.frames = 0
        self._write = write
        self._done = done
        self._clock = clock
        self._credit = WINDOW_BYTES
        self._first = _NO_TABLE
        # Streams that only the connection's window holds up; the others are woken by their own.
        self._blocked: dict[int, Stream] = {}

    # ---- windows

    def widen(self, size: int) -> None:
        """The connection takes so much more; raises Http2Error beyond the largest window."""
        self._credit += size
        if self._credit > LARGEST_WINDOW:
            raise Http2Error(frames.FLOW_CONTROL_ERROR, "the connection's window grows beyond the largest")
        while self._blocked and self._credit > 0:
            # In turns, a frame each: one long answer must not hold up all others.
            number, stream = next(iter(self._blocked.items()))
            del self._blocked[number]
            if self._send_frame(stream):
                self._blocked[number] = stream
            else:
                self._send_out(stream)

    def widen_stream(self, stream: Stream, size: int) -> bool:
        """A stream takes so much more; False beyond the largest window."""
        if stream.credit + size > LARGEST_WINDOW:
            return False
        stream.credit += size
        if stream.blocked_since is not None:
            self._send_out(stream)
        return True

    # ---- answers

    def respond(self, stream: Stream, block: bytes, body: bytes, trailers: bytes) -> None:
        """The whole answer of a stream: header block, body, and the block of its trailers."""
        size, number, most = len(body), stream.number, self.frame_bytes
        if stream.closed:
            return
        if size > self._credit or size > stream.credit or size > most or len(trailers) > most:
            self.begin(stream, block)
            self.send(stream, body)
            self.finish(stream, trailers)
            return
        self._credit -= size
        self.frames += 1
        block, self._first = self._first + block, b""
        parts = (
            head(len(block), frames.HEADERS, frames.END_HEADERS, number), block,
            head(size, frames.DATA, 0, number), body,
            head(len(trailers), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number), trailers,
        )  # fmt: skip
        self._write(b"".join(parts))
        self._done(stream)

    def begin(self, stream: Stream, block: bytes) -> None:
        """The first header block of an answer."""
        if not stream.closed:
            self._write_block(stream, block, 0)

    def send(self, stream: Stream, data: bytes) -> None:
        """Some of the body of an answer."""
        if not stream.closed:
            stream.out.append(memoryview(data))
            self._send_out(stream)

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """The end of an answer: after its body, or as all of it."""
        if not stream.closed:
            stream.trailers = trailers
            self._send_out(stream)

    def forget(self, stream: Stream) -> None:
        """Nobody takes the rest."""
        self._blocked.pop(stream.number, None)
        stream.out.clear()

    def _send_out(self, stream: Stream) -> None:
        while stream.out:
            if not self._send_frame(stream):
                if stream.blocked_since is None:
                    stream.blocked_since = self._clock()
                if stream.credit > 0:
                    self._blocked[stream.number] = stream
                return
        was_blocked, stream.blocked_since = stream.blocked_since is not None, None
        self._blocked.pop(stream.number, None)
        if stream.trailers is not None:
            self._write_block(stream, stream.trailers, frames.END_STREAM)
            self._done(stream)
        elif was_blocked:
            stream.sink.sent()

    def _send_frame(self, stream: Stream) -> bool:
        """One frame of what waits, if there is something and the windows let it go."""
        if not stream.out:
            return False
        part = stream.out[0]
        size = min(len(part), self._credit, stream.credit, self.frame_bytes)
        if size <= 0 < len(part):
            return False
        self._credit -= size
        stream.credit -= size
        self.frames += 1
        self._write(head(size, frames.DATA, 0, stream.number) + part[:size])
        if stream.blocked_since is not None:
            stream.blocked_since = self._clock()
        if size == len(part):
            stream.out.popleft()
        else:
            stream.out[0] = part[size:]
        return True

    def _write_block(self, stream: Stream, block: bytes, flags: int) -> None:
        """A header block, in as many frames as it needs."""
        kind, most = frames.HEADERS, self.frame_bytes
        block, self._first = self._first + block, b""
        while len(block) > most:
            self._write(frames.frame(kind, flags, stream.number, block[:most]))
            kind, flags, block = frames.CONTINUATION, 0, block[most:]
        self._write(frames.frame(kind, flags | frames.END_HEADERS, stream.number, block))
