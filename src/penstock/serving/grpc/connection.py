"""One client of the gRPC port: a connection of HTTP/2, and what it asks for as RPCs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

from penstock.core.errors import PenstockError, Unsupported
from penstock.protocols.grpc_status import grpc_reply_of
from penstock.serving.grpc.calls import UnaryCall
from penstock.serving.grpc.head import Head, understand
from penstock.serving.grpc.methods import PageMethod
from penstock.serving.grpc.replies import INITIAL, http_status, prefixed, trailers_of
from penstock.serving.grpc.stream import StreamCall
from penstock.serving.http.message import Reply, Request
from penstock.serving.http2 import frames
from penstock.serving.http2.frames import Http2Error
from penstock.serving.http2.heads import Heads
from penstock.serving.http2.session import Session
from penstock.serving.http2.stream import NOBODY, Sink, Stream

if TYPE_CHECKING:
    from penstock.serving.grpc.door import GrpcDoor

_NOT_HTTP2 = b"this port speaks gRPC, which is HTTP/2\n"
_NOT_HTTP2_REPLY = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
    % (len(_NOT_HTTP2), _NOT_HTTP2)
)
_LINGER_S = 5.0


class GrpcConnection(asyncio.Protocol):
    """See the module. What is written in one turn of the event loop leaves together, at its end."""

    # fmt: off
    __slots__ = (
        "_closing", "_door", "_heard", "_out", "_paused_since", "_peer", "_since", "_transport", "_under_way",
        "_unsent", "session",
    )
    # fmt: on

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door
        self._out: list[bytes] = []
        self._closing = False
        self._paused_since: float | None = None
        self._since = self._heard = door.clock()
        self._unsent = 0
        self._under_way = 0
        largest = door.http2.max_head_bytes
        # Beyond the largest, an RPC fails; beyond this the connection does, whose table could not follow any more.
        heads = Heads(partial(understand, max_bytes=largest), 4 * largest)
        self.session: Session[Head] = Session(self, heads, door.http2, door.clock)

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or turn it away when there are too many."""
        # cast, not isinstance: uvloop's transports have another base class.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._door.connections.add(self)
        if len(self._door.connections) > self._door.limits.max_connections or self._door.draining:
            self.session.open()
            self._leave(frames.NO_ERROR, "this node takes no more connections now")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; answers that still come are dropped."""
        self._closing = True
        self.session.lost()
        self._door.left(self)

    def data_received(self, data: bytes) -> None:
        """Take frames."""
        if self._closing:
            return
        self._heard = self._door.clock()
        try:
            self.session.feed(data)
        except Http2Error as error:
            if not self.session.greeted:
                self.write(_NOT_HTTP2_REPLY)
                self._linger()
            else:
                self._leave(error.code, str(error))
        except Exception as error:  # our own defect: one client loses its connection, the log gets all of it
            self._door.node.report(error, "grpc")
            self._leave(frames.INTERNAL_ERROR, "this node failed on a frame")

    def pause_writing(self) -> None:
        """The client does not read: take nothing more from it until it does."""
        self._paused_since = self._door.clock()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused_since = None
        if not self._closing:
            self._transport.resume_reading()

    def check(self, now: float) -> None:
        """Close the connection when its client is too slow, or idle for too long."""
        session, limits = self.session, self._door.limits
        session.rest()
        if self._is_gone(now):
            # There is nobody to tell.
            self._transport.abort()
        elif not session.streams:
            patience_s = limits.idle_timeout_s if session.greeted else limits.request_timeout_s
            if not self._closing and now - self._since > patience_s:
                self._leave(frames.NO_ERROR, "idle")
        elif now - self._heard > limits.idle_timeout_s:
            session.ping()
        for stream in list(session.streams.values()):
            stream.sink.check(now)
            if stream.blocked_since is not None and now - stream.blocked_since > limits.request_timeout_s:
                session.reset(stream, frames.CANCEL)

    def _is_gone(self, now: float) -> bool:
        """Whether the client does not read its answers, does not leave, or does not answer to pings."""
        limits = self._door.limits
        if self._closing and now - self._since > _LINGER_S:
            return True
        if self._paused_since is not None:
            before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
            if self._unsent < before:
                self._paused_since = now
            return now - self._paused_since > limits.request_timeout_s
        return bool(self.session.streams) and now - self._heard > limits.idle_timeout_s + limits.request_timeout_s

    def drain(self) -> None:
        """Take no more RPCs, and close after the last answer."""
        if self._closing:
            return
        if self.session.greeted:
            self.session.leave()
        for stream in list(self.session.streams.values()):
            stream.sink.drain()
        if not self.session.streams and not self._closing:
            self._linger()

    def _leave(self, code: int, text: str) -> None:
        self.session.leave(code, text)
        self._linger()

    def _linger(self) -> None:
        """Close our side and drop what the client still sends: left unread it would reset the connection."""
        self._closing, self._since = True, self._door.clock()
        self.session.lost()
        self.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # ---- what the session asks for

    def write(self, data: bytes) -> None:
        """See `Host`."""
        if self._closing:
            return
        self._out.append(data)
        if len(self._out) == 1:
            self._door.soon(self.flush)

    def flush(self) -> None:
        """Write what waits to be sent."""
        out, self._out = self._out, []
        # A client may have gone meanwhile; the transport would complain of it on stderr.
        if out and not self._transport.is_closing():
            self._transport.write(b"".join(out))

    def emptied(self) -> None:
        """See `Host`."""
        self._since = self._door.clock()
        if self.session.leaving and not self._closing:
            self._linger()

    def begin(self, stream: Stream, head: Head) -> Sink:
        """See `Host`: the RPC that has begun."""
        door = self._door
        if self._under_way >= door.http2.max_streams:
            # Calls that were given up count until they have ended: nobody makes the node work by giving up.
            self.session.reset(stream, frames.REFUSED_STREAM)
            return NOBODY
        if head.http_status:
            self.session.sending.finish(stream, http_status(head.http_status))
            return NOBODY
        method = door.methods.get(head.path)
        request = Request(b"POST", head.path, head.headers, b"", door.clock(), self._peer)
        try:
            if head.problem is not None:
                raise head.problem.with_traceback(None)
            if method is None and head.path != door.stream_path:
                raise Unsupported("unknown-method", f"there is no method {head.path.decode('latin-1')[:200]}")
            opened = isinstance(method, PageMethod) and method.open
            if door.node.access is not None and not opened:
                # Before anything of a message is read: nobody without a key makes the node hold one.
                door.node.access.identify(request.headers, request.peer)
        except PenstockError as error:
            self.refuse(stream, error)
            return NOBODY
        if method is None:
            return StreamCall(self, door, stream, head, request)
        return UnaryCall(self, door, stream, method, request, head.encoding)

    # ---- what RPCs ask for

    def began(self) -> None:
        """A call is under way."""
        self._under_way += 1

    def ended(self) -> None:
        """A call has ended, whether somebody waits for its answer or not."""
        self._under_way -= 1

    def respond(self, stream: Stream, reply: Reply) -> None:
        """The whole answer of an RPC."""
        trailers, failed = trailers_of(reply.headers, reply.body)
        if failed:
            self.session.sending.finish(stream, INITIAL + trailers)
        else:
            self.session.sending.respond(stream, INITIAL, prefixed(reply.body), trailers)

    def refuse(self, stream: Stream, error: PenstockError) -> None:
        """End an RPC with a failure."""
        self.respond(stream, Reply(*grpc_reply_of(error)))
