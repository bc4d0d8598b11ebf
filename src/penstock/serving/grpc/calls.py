"""An RPC of one message and one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.serving.grpc.length_prefixed import Prefixed, Reader
from penstock.serving.grpc.methods import CallMethod, PageMethod
from penstock.serving.http.exchange import Exchange
from penstock.serving.http.message import Reply, Request
from penstock.serving.http2.stream import Sink, Stream

if TYPE_CHECKING:
    from penstock.serving.grpc.connection import GrpcConnection
    from penstock.serving.grpc.door import GrpcDoor


class UnaryCall(Sink):
    """See the module. The message of a method that everybody may call is not even read.

    A call whose client is gone goes on: others may wait for the same batch.
    """

    __slots__ = ("_connection", "_door", "_message", "_method", "_reader", "_request", "_stream")

    def __init__(
        self, connection: GrpcConnection, door: GrpcDoor, stream: Stream, method: CallMethod | PageMethod,
        request: Request, encoding: bytes,
    ) -> None:  # fmt: skip
        self._connection = connection
        self._door = door
        self._stream = stream
        self._method = method
        self._request = request
        opened = isinstance(method, PageMethod) and method.open
        self._message: Prefixed | None = (0, b"") if opened else None
        self._reader = None if opened else Reader(encoding, door.largest)

    def data(self, payload: bytes) -> None:
        """See `Sink`."""
        reader = self._reader
        if reader is None:
            return
        try:
            reader.push(payload)
            if self._message is None:
                self._message = reader.next()
            if self._message is not None and reader.pending:
                raise InvalidInput("too-many-messages", "the method takes one message, and more were sent")
        except PenstockError as error:
            self._connection.refuse(self._stream, error)
            return
        if reader.missing:
            self._connection.session.grants.allow(self._stream, reader.missing)

    def end(self) -> None:
        """See `Sink`."""
        try:
            if self._message is None:
                raise InvalidInput("truncated-request", "the request ends before it is complete")
            self._request.body = self._message[1] if self._reader is None else self._reader.plain(self._message)
        except PenstockError as error:
            self._connection.refuse(self._stream, error)
            return
        found = self._door.answer(self._method, self._request)
        if isinstance(found, Reply):
            self._connection.respond(self._stream, found)
        else:
            self._connection.began()
            Exchange(self, close=False, coroutine=found).step()

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """See `Answers`."""
        self._connection.ended()
        self._connection.respond(self._stream, reply)

    def check(self, now: float) -> None:
        """See `Sink`: a message has to come in time."""
        limit_s = self._door.limits.request_timeout_s
        if not self._stream.ended and now - self._request.arrived > limit_s:
            error = Unavailable("request-timeout", f"the request was not complete after {limit_s:g} s")
            self._connection.refuse(self._stream, error)
