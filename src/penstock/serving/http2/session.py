"""The server's side of one HTTP/2 connection: frames in by `feed`, frames out by the host's `write`.

What a client can make the node hold is bounded here: streams at once, header blocks, frames that ask for nothing;
`grants.py` bounds the bytes of requests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import msgspec

from penstock.core.clock import Clock
from penstock.serving.http2 import frames
from penstock.serving.http2.frames import Http2Error
from penstock.serving.http2.grants import Grants
from penstock.serving.http2.heads import Heads
from penstock.serving.http2.sending import Sending
from penstock.serving.http2.stream import NOBODY, Sink, Stream

Head = TypeVar("Head")
HeadIn = TypeVar("HeadIn", contravariant=True)

_SIZES = {frames.PRIORITY: 5, frames.RST_STREAM: 4, frames.PING: 8, frames.WINDOW_UPDATE: 4}
_STREAM_MASK = 0x7FFFFFFF


class Http2Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may do. `max_idle_frames`: between two calls of `rest`, frames that carry no request."""

    max_streams: int = 256
    max_head_bytes: int = 32 * 2**10
    max_idle_frames: int = 10_000
    room_bytes: int = 64 * 2**20


class Host(Protocol[HeadIn]):
    """Who answers."""

    def begin(self, stream: Stream, head: HeadIn) -> Sink:
        """A request has begun; it may be answered at once."""

    def write(self, data: bytes) -> None:
        """Send these bytes after those before them."""

    def emptied(self) -> None:
        """The last stream has ended."""


class Session(Generic[Head]):
    """See the module. Nothing of it may be called again after `feed` raised."""

    def __init__(self, host: Host[Head], heads: Heads[Head], limits: Http2Limits, clock: Clock) -> None:
        self.streams: dict[int, Stream] = {}
        self.leaving = False
        self._host = host
        self._heads = heads
        self._limits = limits
        self.sending = Sending(host.write, self._done, clock)
        self.grants = Grants(host.write, limits.room_bytes)
        self._rest = b""
        self.greeted = False
        self._settled = False
        # The stream, flags and so far read parts of a header block that goes on in the next frame.
        self._block: tuple[int, int, bytearray] | None = None
        self._last = 0
        self._idle_frames = 0
        self._others: dict[int, Callable[[int, int, bytes], None]] = {
            frames.PRIORITY: self._ignored, frames.RST_STREAM: self._reset_by_client, frames.SETTINGS: self._settings,
            frames.PING: self._ping, frames.GOAWAY: self._ignored, frames.WINDOW_UPDATE: self._window_update,
        }  # fmt: skip

    def open(self) -> None:
        """Send what a server sends first."""
        limits = self._limits
        said = {frames.MAX_CONCURRENT_STREAMS: limits.max_streams, frames.MAX_HEADER_LIST_SIZE: limits.max_head_bytes}
        self._host.write(frames.settings(said))
        self.grants.open()

    # ---- what comes

    def feed(self, data: bytes) -> None:
        """Take what the client sent; raises Http2Error where the connection has to end."""
        if self._rest:
            data = self._rest + data
        at, end = 0, len(data)
        if not self.greeted:
            if end < len(frames.PREFACE) and frames.PREFACE.startswith(data):
                self._rest = data
                return
            if not data.startswith(frames.PREFACE):
                raise Http2Error(frames.PROTOCOL_ERROR, "this port speaks HTTP/2 only")
            self.greeted, at = True, len(frames.PREFACE)
            self.open()
        while end - at >= 9:
            high, low, kind, flags, number = frames.HEADER.unpack_from(data, at)
            after = at + 9 + (high << 8 | low)
            if after - at > 9 + frames.FRAME_BYTES:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "a frame is larger than this server takes")
            if after > end:
                break
            self._frame(kind, flags, number & _STREAM_MASK, data[at + 9 : after])
            at = after
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self._settled and kind != frames.SETTINGS:
            raise Http2Error(frames.PROTOCOL_ERROR, "the first frame is no SETTINGS")
        if self._block is not None:
            self._continued(kind, flags, number, payload)
        elif kind == frames.DATA:
            self._data(number, flags, payload)
        elif kind == frames.HEADERS:
            self._headers(number, flags, payload)
        elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            raise Http2Error(frames.PROTOCOL_ERROR, f"a frame of kind {kind} has no place here")
        else:
            self._count()
            if len(payload) != _SIZES.get(kind, len(payload)):
                raise Http2Error(frames.FRAME_SIZE_ERROR, f"a frame of kind {kind} has a wrong size")
            take = self._others.get(kind)
            if take is not None:
                take(number, flags, payload)

    def _count(self, weight: int = 1) -> None:
        """A client may keep the event loop busy with frames that ask for nothing."""
        self._idle_frames += weight
        # Windows have to be renewed for what is sent, perhaps of the stream and of the connection for each frame.
        if self._idle_frames > self._limits.max_idle_frames + 2 * self.sending.frames:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "too many frames without a request")

    def rest(self) -> None:
        """Frames are counted from here on; called every second or so."""
        self._idle_frames = self.sending.frames = 0

    def _headers(self, number: int, flags: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise Http2Error(frames.PROTOCOL_ERROR, f"a client opens no stream {number}")
        payload = frames.unpadded(flags, payload)
        if flags & frames.PRIORITIZED:
            if len(payload) < 5:
                raise Http2Error(frames.FRAME_SIZE_ERROR, "HEADERS are shorter than their priority")
            payload = payload[5:]
        if flags & frames.END_HEADERS:
            self._head(number, flags, payload)
        else:
            self._block = (number, flags, bytearray(payload))

    def _continued(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        assert self._block is not None  # noqa: S101 - the caller has just looked
        first, first_flags, block = self._block
        if kind != frames.CONTINUATION or number != first:
            raise Http2Error(frames.PROTOCOL_ERROR, "a header block is not continued")
        self._count()
        block += payload
        if len(block) > self._limits.max_head_bytes:
            raise Http2Error(frames.ENHANCE_YOUR_CALM, "a header block is larger than this server takes")
        if flags & frames.END_HEADERS:
            self._block = None
            self._head(number, first_flags, bytes(block))

    def _head(self, number: int, flags: int, block: bytes) -> None:
        head, ends = self._heads.read(block), bool(flags & frames.END_STREAM)
        if number <= self._last:
            self._trailers(number, ends)
            return
        self._last = number
        if self.leaving or len(self.streams) >= self._limits.max_streams:
            self._count()
            self._host.write(frames.rst_stream(number, frames.REFUSED_STREAM))
            return
        if head is None:
            self._count()
            self._host.write(frames.rst_stream(number, frames.PROTOCOL_ERROR))
            return
        stream = Stream(number, frames.WINDOW_BYTES, self.sending.stream_credit)
        self.streams[number] = stream
        sink = self._host.begin(stream, head)
        if stream.closed:
            return
        stream.sink = sink
        if ends:
            self._ended(stream)

    def _trailers(self, number: int, ends: bool) -> None:
        """A second head of a stream: its end. One for a stream that ended here is late, and of no use."""
        stream = self.streams.get(number)
        if stream is None:
            self._count()
        elif stream.ended:
            raise Http2Error(frames.STREAM_CLOSED, f"stream {number} had ended")
        elif not ends:
            self.reset(stream, frames.PROTOCOL_ERROR)
        else:
            self._ended(stream)

    def _data(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0 or number > self._last:
            raise Http2Error(frames.PROTOCOL_ERROR, f"DATA of stream {number}, which was not opened")
        size = len(payload)
        self.grants.take(size)
        payload = frames.unpadded(flags, payload)
        if not payload and not flags & frames.END_STREAM:
            self._count()
        stream = self.streams.get(number)
        if stream is None:
            # On its way when the stream ended here.
            return
        if stream.ended:
            self.reset(stream, frames.STREAM_CLOSED)
            return
        stream.window -= size
        if stream.window < 0:
            self.reset(stream, frames.FLOW_CONTROL_ERROR)
            return
        stream.sink.data(payload)
        if flags & frames.END_STREAM and not stream.closed:
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        stream.ended = True
        self.grants.free(stream)
        stream.sink.end()

    # ---- the other frames

    def _ignored(self, number: int, flags: int, payload: bytes) -> None:
        """Priorities are of no use here; a client that goes away (GOAWAY) still gets what it is owed."""

    def _reset_by_client(self, number: int, flags: int, payload: bytes) -> None:
        if number == 0 or number > self._last:
            raise Http2Error(frames.PROTOCOL_ERROR, f"a reset of stream {number}, which was not opened")
        stream = self.streams.get(number)
        if stream is not None:
            self._close(stream, lost=True)

    def _settings(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Http2Error(frames.PROTOCOL_ERROR, "settings of a single stream")
        if len(payload) % 6 or (flags & frames.ACK and payload):
            raise Http2Error(frames.FRAME_SIZE_ERROR, "SETTINGS have a wrong size")
        self._settled = True
        if flags & frames.ACK:
            return
        # The last of a name counts, and is the only one that is obeyed: each may have to be told to all streams.
        self._count(len(self.streams))
        values = {payload[at : at + 2]: payload[at + 2 : at + 6] for at in range(0, len(payload), 6)}
        for name, value in values.items():
            self._set(int.from_bytes(name), int.from_bytes(value))
        self._host.write(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise Http2Error(frames.FLOW_CONTROL_ERROR, "an initial window beyond the largest")
            more, self.sending.stream_credit = value - self.sending.stream_credit, value
            for stream in list(self.streams.values()):
                if not self.sending.widen_stream(stream, more):
                    raise Http2Error(frames.FLOW_CONTROL_ERROR, "a stream's window grows beyond the largest")
        elif name == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES <= value < 2**24:
                raise Http2Error(frames.PROTOCOL_ERROR, "a largest frame that may not be")
            self.sending.frame_bytes = value
        elif name == frames.ENABLE_PUSH and value > 1:
            raise Http2Error(frames.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")

    def _ping(self, number: int, flags: int, payload: bytes) -> None:
        if number:
            raise Http2Error(frames.PROTOCOL_ERROR, "a ping of a single stream")
        if not flags & frames.ACK:
            self._host.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _window_update(self, number: int, flags: int, payload: bytes) -> None:
        size = int.from_bytes(payload) & _STREAM_MASK
        if number > self._last or (number == 0 and size == 0):
            raise Http2Error(frames.PROTOCOL_ERROR, f"a window of stream {number} that grows by {size}")
        if number == 0:
            self.sending.widen(size)
            return
        stream = self.streams.get(number)
        if stream is None:
            return
        if size == 0:
            self.reset(stream, frames.PROTOCOL_ERROR)
        elif not self.sending.widen_stream(stream, size):
            self.reset(stream, frames.FLOW_CONTROL_ERROR)

    # ---- ends

    def _done(self, stream: Stream) -> None:
        """The answer is sent. A client that still sends its request is told that nobody needs the rest (8.1)."""
        if not stream.ended:
            self._host.write(frames.rst_stream(stream.number, frames.NO_ERROR))
        self._close(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream without an answer."""
        if not stream.closed:
            self._host.write(frames.rst_stream(stream.number, code))
            self._close(stream, lost=True)

    def _close(self, stream: Stream, *, lost: bool = False) -> None:
        stream.closed = True
        del self.streams[stream.number]
        self.sending.forget(stream)
        self.grants.free(stream)
        if lost:
            stream.sink.lost()
        stream.sink = NOBODY
        if not self.streams:
            self._host.emptied()

    def ping(self) -> None:
        """Ask the client whether it is there."""
        self._host.write(frames.frame(frames.PING, 0, 0, bytes(8)))

    def leave(self, code: int = frames.NO_ERROR, text: str = "") -> None:
        """Tell the client that no stream after the last one will be answered; it may try those elsewhere."""
        self.leaving = True
        self._host.write(frames.goaway(self._last, code, text))

    def lost(self) -> None:
        """The client is gone: nobody waits for any answer."""
        self.leaving = True
        for stream in list(self.streams.values()):
            self._close(stream, lost=True)
