"""One client's connection: bytes in, requests to the flow, replies back in the order of the requests.

Every limit that protects the node from a client stands here: head and body size, time to send them, pipelined
requests, unread replies. A request is a coroutine that this file drives by itself: an asyncio task for each would cost
more than the model.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, cast

import httptools
import msgspec

from penstock.core.errors import InvalidInput, PenstockError, TooLarge, Unavailable, Unsupported
from penstock.protocols.problems import body_of, headers_of, status_of
from penstock.serving.access import HEADERS
from penstock.serving.http.door import Door
from penstock.serving.http.heads import Head
from penstock.serving.http.message import JSON, Reply, Request, render

_encode = msgspec.json.Encoder().encode

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# Taken twice, one of them would be obeyed by us and the other one by somebody before us.
_ONLY_ONCE = frozenset({b"content-length", b"transfer-encoding", b"host", b"inference-header-content-length", *HEADERS})
_STATUS = {"head-too-large": 431, "request-timeout": 408}
_LINGER_S = 5.0
# A chunk that carries one byte takes six.
_MOST_OVERHEAD = 8


class _Exchange(msgspec.Struct, gc=False, eq=False):
    """One request that is being answered: a reply that is owed."""

    connection: Connection
    close: bool
    data: bytes | None = None
    coroutine: Coroutine[Any, None, Reply] | None = None

    def step(self, waited: object = None) -> None:
        """Run the request's coroutine until it waits for a batch; the batch calls this again.

        Whatever it awaits needs only `add_done_callback` and an `__await__` that yields itself, as `Pending` has.
        """
        try:
            waits = self.coroutine.send(None)  # type: ignore[union-attr]
        except StopIteration as end:
            self.coroutine = None
            self.connection.reply(self, end.value)
        else:
            waits.add_done_callback(self.step)


class Connection(asyncio.Protocol):
    """See the module. `_since` is when the state the client is in began: idle, or sending a request.

    `_between`: the parser has seen whole requests only and will take another one.
    """

    # fmt: off
    __slots__ = (
        "_awaited", "_between", "_body", "_body_size", "_closing", "_door", "_eof", "_fresh", "_head", "_headers",
        "_max_body", "_owed", "_parser", "_paused", "_peer", "_received", "_receiving", "_refused", "_since",
        "_stopped", "_transport", "_url",
    )
    # fmt: on

    def __init__(self, door: Door) -> None:
        self._door = door
        self._owed: deque[_Exchange] = deque()
        self._between = True
        self._receiving = False
        self._fresh = False
        self._head: Head | None = None
        self._closing = False
        self._eof = False
        self._paused = False
        self._stopped = False
        self._refused: PenstockError | None = None
        self._since = door.clock()
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._received = 0
        self._max_body = 0
        self._awaited = False

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket, or turn it away when there are too many."""
        # cast, not isinstance: uvloop's transports have another base class.
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        self._parser: Any = httptools.HttpRequestParser(self)
        self._door.connections.add(self)
        if len(self._door.connections) > self._door.limits.max_connections or self._door.draining:
            self._fail(Unavailable("too-many-connections", "this node takes no more connections now"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; answers that still come are dropped by the closed transport."""
        self._closing = True
        self._parser = None
        self._owed.clear()
        self._door.left(self)

    def data_received(self, data: bytes) -> None:
        """Take one whole request with a known head at once; feed anything else to the parser."""
        if self._closing:
            return
        between = self._between
        if between:
            known = self._door.heads.split(data)
            if known is not None and known[0].length <= self._door.smallest_body_limit:
                self._take(*known, close=self._door.draining)
                if len(self._owed) >= self._door.limits.max_pipelined:
                    self._stop_reading()
                return
        self._head = None
        self._parse(data)
        if between and self._between and self._head is not None:
            self._door.heads.keep(data, self._head)

    def _parse(self, data: bytes) -> None:
        """Feed the parser, which calls the `on_` methods below."""
        try:
            self._parser.feed_data(data)
            if self._receiving and self._max_body and not self._awaited:
                self._await_body()
        except PenstockError as error:
            self._fail(error)
        except httptools.HttpParserUpgrade:
            # Not taken up, which is a server's right; what follows would be in the other protocol.
            self._end_after_replies()
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(
                cause
                if isinstance(cause, PenstockError)
                else InvalidInput("invalid-http", "the request cannot be read")
            )
        except httptools.HttpParserError as error:
            self._fail(InvalidInput("invalid-http", f"the request cannot be read: {error}"))
        else:
            limits = self._door.limits
            if self._receiving:
                if self._fresh:
                    self._fresh = False
                else:
                    self._grow(len(data), limits.max_head_bytes)
            # A client may send a thousand requests without reading: stop reading until it took some replies.
            if len(self._owed) >= limits.max_pipelined:
                self._stop_reading()

    def _grow(self, size: int, limit: int) -> None:
        """Bound a head, trailers or chunk extensions that do not end.

        Only whole reads that came after the one in which the request began are counted: exactness would cost a call
        per header.
        """
        self._received += size
        if self._received - self._body_size * _MOST_OVERHEAD > limit:
            self._fail(TooLarge("head-too-large", f"the request's head is larger than {limit} bytes"))

    def eof_received(self) -> bool:
        """A client may close its sending side and still wait for answers."""
        self._eof = True
        if self._closing:
            return False
        if self._receiving:
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

    # ---- the parser's side

    def on_message_begin(self) -> None:
        """A request has begun."""
        self._between = False
        self._receiving = self._fresh = True
        self._since = self._door.clock()

    def on_url(self, url: bytes) -> None:
        """Part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a chunked body's trailer must not pass for one."""
        if self._max_body:
            return
        name = name.lower()
        if name in self._headers and name in _ONLY_ONCE:
            raise InvalidInput("conflicting-headers", f"the header {name.decode('latin-1')} is sent twice")
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Judge the size before the body is read, and answer `Expect: 100-continue`."""
        headers = self._headers
        length = headers.get(b"content-length")
        if length is None or int(length) > self._door.smallest_body_limit:
            self._max_body = self._door.body_limit(self._url)
            if length is not None and int(length) > self._max_body:
                raise self._too_large()
            coding = headers.get(b"transfer-encoding", b"chunked").lower()
            # One that does not end in `chunked` has no end that could be found: that is the parser's 400.
            if coding != b"chunked" and coding.endswith(b"chunked"):
                raise Unsupported("unknown-transfer-coding", "of transfer codings this node knows chunked alone")
        else:
            self._max_body = self._door.smallest_body_limit
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self._await_body()
            # In its turn: the client would take it for the answer to an earlier request.
            self._owed.append(_Exchange(self, False, CONTINUE))
            self._send_if_first()

    def _await_body(self) -> None:
        """The body is not all here: wait for it only from who may call.

        One that came with its head costs nothing to have, and whose it is the flow will ask.
        """
        self._awaited = True
        self._door.check_head(self._url, self._headers, self._peer)

    def on_body(self, body: bytes) -> None:
        """Part of the body; a chunked one is measured as it comes."""
        self._body_size += len(body)
        if self._body_size > self._max_body:
            raise self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        parser = self._parser
        self._receiving = False
        self._between = parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        head = self._head = Head(parser.get_method(), self._url, self._headers, len(body))
        self._reset()
        self._take(head, body, close=self._door.draining or not self._between)

    def _take(self, head: Head, body: bytes, *, close: bool) -> None:
        """Hand a whole request to the flow."""
        door = self._door
        exchange = _Exchange(self, close)
        self._owed.append(exchange)
        found = door.answer(Request(head.method, head.url, head.headers, body, door.clock(), self._peer))
        if not isinstance(found, Reply):
            exchange.coroutine = found
            exchange.step()
        elif head.method == b"HEAD":
            exchange.data = render(found, exchange.close)[: -len(found.body)]
            self._send_if_first()
        else:
            self.reply(exchange, found)

    def _too_large(self) -> TooLarge:
        return TooLarge("body-too-large", f"the body is larger than the {self._max_body} bytes this endpoint takes")

    # ---- replies

    def reply(self, exchange: _Exchange, reply: Reply) -> None:
        """Take the reply of one request; it leaves when those before it have left."""
        owed = self._owed
        if len(owed) == 1 and not exchange.close and not self._stopped and not self._closing:
            # Nothing before it and nothing special about it, as nearly always.
            owed.clear()
            self._transport.write(render(reply, False))
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
        self._refused = error
        self._between = False
        self._stop_reading()
        if not self._owed:
            self._refuse()

    def _end_after_replies(self) -> None:
        self._between = False
        self._stop_reading()
        if self._owed:
            self._owed[-1].close = True
        elif not self._closing:
            self._linger()

    def _refuse(self) -> None:
        error = self._refused
        assert error is not None  # noqa: S101 - the caller has just looked
        status = _STATUS.get(error.code) or status_of(error)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers_of(error).items()).encode()
        self._transport.write(render(Reply(status, JSON + lines, _encode(body_of(error))), close=True))
        self._linger()

    def _linger(self) -> None:
        """Close our side and drop what the client still sends.

        Left unread it would reset the connection, and a client busy with sending would never see the answer.
        """
        if self._eof or not self._transport.can_write_eof():
            self._close()
            return
        self._closing = True
        self._since = self._door.clock()
        self._transport.write_eof()
        if self._stopped:
            self._stopped = False
            self._transport.resume_reading()

    def _close(self) -> None:
        self._closing = True
        self._transport.close()

    def check(self, now: float) -> None:
        """Close the connection when its client is too slow, or idle for too long."""
        limits, waited = self._door.limits, now - self._since
        if self._receiving and not self._owed and waited > limits.request_timeout_s and not self._closing:
            self._fail(
                Unavailable("request-timeout", f"the request was not complete after {limits.request_timeout_s:g} s")
            )
        elif (self._paused and waited > limits.request_timeout_s) or (self._closing and waited > _LINGER_S):
            # It does not read its answers: there is nobody to tell.
            self._transport.abort()
        elif not self._receiving and not self._owed and waited > limits.idle_timeout_s:
            self._close()

    def drain(self) -> None:
        """Close now if nothing is owed, else after the last reply."""
        if self._owed:
            self._owed[-1].close = True
        elif not self._receiving:
            self._close()
