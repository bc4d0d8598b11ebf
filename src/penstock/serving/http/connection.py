"""One client's connection: bytes in, requests to the flow, replies back in the order of the requests.

What bounds a client beyond one request stands here: time, pipelined requests, unread replies; `incoming` bounds what
one request may be.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.serving.addresses import refusal
from penstock.serving.http.door import Door
from penstock.serving.http.exchange import Exchange
from penstock.serving.http.heads import Head
from penstock.serving.http.incoming import Incoming
from penstock.serving.http.message import Reply, Request, render

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS = {"head-too-large": 431, "request-timeout": 408}
_LINGER_S = 5.0


class Connection(asyncio.Protocol):
    """See the module. `_since` is when the state the client is in began: idle, reading, or gone."""

    # fmt: off
    __slots__ = (
        "_closing", "_door", "_eof", "_incoming", "_owed", "_paused", "_peer", "_refused", "_since", "_stopped",
        "_transport",
    )
    # fmt: on

    def __init__(self, door: Door) -> None:
        self._door = door
        self._owed: deque[Exchange] = deque()
        self._closing = False
        self._eof = False
        self._paused = False
        self._stopped = False
        self._refused: Reply | None = None
        self._since = door.clock()

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or turn it away when there are too many."""
        # cast, not isinstance: uvloop's transports have another base class.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._incoming = Incoming(self._door, self, self._peer)
        self._door.connections.add(self)
        if len(self._door.connections) > self._door.limits.max_connections or self._door.draining:
            self._fail(Unavailable("too-many-connections", "this node takes no more connections now"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; answers that still come are dropped by the closed transport."""
        self._closing = True
        self._incoming.close()
        self._owed.clear()
        self._door.left(self)

    def data_received(self, data: bytes) -> None:
        """Take one whole request with a known head at once; feed anything else to the parser."""
        if self._closing:
            return
        door, incoming = self._door, self._incoming
        known = door.heads.split(data) if incoming.between else None
        if known is not None and known[0].length <= door.smallest_body_limit:
            self.take(*known, close=door.draining)
        else:
            try:
                if not incoming.feed(data):
                    self._end_after_replies()
            except PenstockError as error:
                self._fail(error)
        # A client may send a thousand requests without reading: stop reading until it took some replies.
        if len(self._owed) >= door.limits.max_pipelined:
            self._stop_reading()

    def eof_received(self) -> bool:
        """A client may close its sending side and still wait for answers."""
        self._eof = True
        if self._closing:
            return False
        # The transport ends after this where nothing is owed: what is only to be sent is written now.
        self._door.flush()
        if self._incoming.receiving:
            self._fail(InvalidInput("truncated-request", "the request ends before it is complete"))
            return self._transport.can_write_eof()
        if self._owed and self._transport.can_write_eof():
            self._owed[-1].close = True
            return True
        # Nothing is owed, or TLS is between, which ends in both directions at once.
        return False

    def pause_writing(self) -> None:
        """The client does not read: take nothing more from it until it does."""
        self._paused = True
        self._since = self._door.clock()
        self._stop_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._paused = False
        if self._stopped and self._refused is None and not self._closing:
            self._stopped = False
            self._transport.resume_reading()

    # ---- requests, from `incoming` or from the known heads

    def take(self, head: Head, body: bytes, *, close: bool) -> None:
        """Hand a whole request to the flow."""
        door = self._door
        exchange = Exchange(self, close)
        self._owed.append(exchange)
        found = door.answer(Request(head.method, head.url, head.headers, body, door.clock(), self._peer))
        if not isinstance(found, Reply):
            exchange.coroutine = found
            exchange.step()
        elif head.method == b"HEAD":
            data = render(found, exchange.close)
            exchange.data = data[: len(data) - len(found.body)]
            self._send_if_first()
        else:
            self.reply(exchange, found)

    def take_continue(self) -> None:
        """Tell the client to go on in its turn: it would take it for the answer to an earlier request."""
        self._owed.append(Exchange(self, False, CONTINUE))
        self._send_if_first()

    # ---- replies

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Take the reply of one request; it leaves when those before it have left."""
        owed = self._owed
        if len(owed) == 1 and not exchange.close and not self._stopped and not self._closing:
            # Nothing before it and nothing special about it, as nearly always.
            owed.clear()
            self._door.send(self._transport, render(reply, False))
            self._since = self._door.clock()
            return
        exchange.data = render(reply, exchange.close)
        self._send_if_first()

    def _send_if_first(self) -> None:
        if self._owed and self._owed[0].data is not None:
            self._send_ready()

    def _send_ready(self) -> None:
        if self._closing:
            return
        # An earlier reply may still be there.
        self._door.flush()
        owed = self._owed
        out: list[bytes] = []
        while owed and owed[0].data is not None:
            exchange = owed.popleft()
            out.append(exchange.data)  # type: ignore[arg-type]
            if exchange.close:
                self._transport.write(b"".join(out))
                self._close()
                return
        self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        self._since = self._door.clock()
        if self._stopped:
            if self._refused is not None:
                if not owed:
                    self._refuse()
            elif not self._paused and len(owed) < self._door.limits.max_pipelined:
                self._stopped = False
                self._transport.resume_reading()

    def _stop_reading(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._transport.pause_reading()

    def _fail(self, error: PenstockError) -> None:
        """The rest of the stream cannot be trusted: answer what is owed, then this error, then close."""
        if self._closing or self._refused is not None:
            return
        # Another path that somebody asked for is not looked up: those are Vertex AI's, which has no form of its own.
        self._refused = refusal(self._incoming.url, error)
        self._refused.status = _STATUS.get(error.code) or self._refused.status
        self._incoming.between = False
        self._stop_reading()
        if not self._owed:
            self._refuse()

    def _end_after_replies(self) -> None:
        self._incoming.between = False
        self._stop_reading()
        if self._owed:
            self._owed[-1].close = True
        elif not self._closing:
            self._linger()

    def _refuse(self) -> None:
        refused = self._refused
        assert refused is not None  # noqa: S101 - the caller has just looked
        self._door.flush()
        self._transport.write(render(refused, close=True))
        self._linger()

    def _linger(self) -> None:
        """Close our side and drop what the client still sends.

        Left unread it would reset the connection, and a client busy with sending would never see the answer.
        """
        if self._eof or not self._transport.can_write_eof():
            self._close()
            return
        self._door.flush()
        self._closing = True
        self._since = self._door.clock()
        self._transport.write_eof()
        if self._stopped:
            self._stopped = False
            self._transport.resume_reading()

    def _close(self) -> None:
        self._door.flush()
        self._closing = True
        self._transport.close()

    def check(self, now: float) -> None:
        """Close the connection when its client is too slow, or idle for too long."""
        limits, waited = self._door.limits, now - max(self._since, self._incoming.begun_at)
        if self._incoming.receiving and not self._owed and waited > limits.request_timeout_s and not self._closing:
            self._fail(
                Unavailable("request-timeout", f"the request was not complete after {limits.request_timeout_s:g} s")
            )
        elif (self._paused and waited > limits.request_timeout_s) or (self._closing and waited > _LINGER_S):
            # It does not read its answers: there is nobody to tell.
            self._transport.abort()
        elif not self._incoming.receiving and not self._owed and waited > limits.idle_timeout_s:
            self._close()

    def drain(self) -> None:
        """Close now if nothing is owed, else after the last reply."""
        if self._owed:
            self._owed[-1].close = True
        elif not self._incoming.receiving:
            self._close()
