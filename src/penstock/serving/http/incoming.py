"""The request that a client is sending: bytes to the parser, and from what it says to one whole request.

What bounds a request stands here: the sizes of head and body, headers that contradict each other, and that a body is
waited for only from who may call.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools

from penstock.core.errors import InvalidInput, PenstockError, TooLarge, Unsupported
from penstock.serving.access import HEADERS
from penstock.serving.http.door import Door
from penstock.serving.http.heads import Head

# Taken twice, one of them would be obeyed by us and the other one by somebody before us.
_ONLY_ONCE = frozenset({b"content-length", b"transfer-encoding", b"host", b"inference-header-content-length", *HEADERS})
# A chunk that carries one byte takes six.
_MOST_OVERHEAD = 8


class Takes(Protocol):
    """What becomes of a request: a connection."""

    def take(self, head: Head, body: bytes, *, close: bool) -> None:
        """One whole request; with `close` it is the last."""

    def take_continue(self) -> None:
        """The client waits for leave to send its body, and has it."""


class Incoming:
    """See the module.

    `receiving`: a request has begun, at `begun_at`, to `url` as far as it came. `between`: the parser has seen whole
    requests only and will take another one.
    """

    # fmt: off
    __slots__ = (
        "_awaited", "_body", "_body_size", "_connection", "_door", "_fresh", "_head", "_headers", "_max_body",
        "_parser", "_peer", "_received", "begun_at", "between", "receiving", "url",
    )
    # fmt: on

    def __init__(self, door: Door, connection: Takes, peer: str) -> None:
        self._door = door
        self._connection = connection
        self._peer = peer
        self._parser: Any = httptools.HttpRequestParser(self)
        self._head: Head | None = None
        self._fresh = False
        self.between = True
        self.receiving = False
        self.begun_at = 0.0
        self._reset()

    def _reset(self) -> None:
        self.url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = self._received = 0
        self._max_body = 0
        self._awaited = False

    def close(self) -> None:
        """Nothing more will come: let go of those who refer to this, for nobody collects circles in time."""
        del self._parser, self._connection

    def feed(self, data: bytes) -> bool:
        """Take what was read. Returns whether more may come: not after a request for another protocol.

        Raises PenstockError when the rest of the stream cannot be trusted.
        """
        between, self._head = self.between, None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Not taken up, which is a server's right; what follows would be in the other protocol.
            return False
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, PenstockError):
                raise error.__context__ from None
            raise InvalidInput("invalid-http", "the request cannot be read") from None
        except httptools.HttpParserError as error:
            raise InvalidInput("invalid-http", f"the request cannot be read: {error}") from None
        if self.receiving:
            if self._max_body and not self._awaited:
                self._await_body()
            self._grow(len(data))
        elif between and self.between and self._head is not None:
            self._door.heads.keep(data, self._head)
        return True

    def _grow(self, size: int) -> None:
        """Bound a head, trailers or chunk extensions that do not end.

        Only whole reads that came after the one in which the request began are counted: exactness would cost a call
        per header.
        """
        if self._fresh:
            self._fresh = False
            return
        self._received += size
        limit = self._door.limits.max_head_bytes
        if self._received - self._body_size * _MOST_OVERHEAD > limit:
            raise TooLarge("head-too-large", f"the request's head is larger than {limit} bytes")

    # ---- the parser's side

    def on_message_begin(self) -> None:
        """A request has begun."""
        self.between = False
        self.receiving = self._fresh = True
        self.begun_at = self._door.clock()

    def on_url(self, url: bytes) -> None:
        """Part of the request's target."""
        self.url += url

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
            self._max_body = self._door.body_limit(self.url)
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
            self._connection.take_continue()

    def _await_body(self) -> None:
        """The body is not all here: wait for it only from who may call.

        One that came with its head costs nothing to have, and whose it is the flow will ask.
        """
        self._awaited = True
        self._door.check_head(self.url, self._headers, self._peer)

    def on_body(self, body: bytes) -> None:
        """Part of the body; a chunked one is measured as it comes."""
        self._body_size += len(body)
        if self._body_size > self._max_body:
            raise self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        parser = self._parser
        self.receiving = False
        self.between = parser.should_keep_alive()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        head = self._head = Head(parser.get_method(), self.url, self._headers, len(body))
        self._reset()
        self._connection.take(head, body, close=self._door.draining or not self.between)

    def _too_large(self) -> TooLarge:
        return TooLarge("body-too-large", f"the body is larger than the {self._max_body} bytes this endpoint takes")
