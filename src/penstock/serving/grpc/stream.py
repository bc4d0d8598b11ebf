"""ModelStreamInfer: one call for each message of a stream, answered in the order of the messages.

An answer is Triton's ModelStreamInferResponse, which tritonclient reads, and a failed call leaves the stream open. With
the metadata `penstock-stream: bare` it is a ModelInferResponse, as MLServer has it, and a failed call ends the stream.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.protocols.grpc_status import grpc_reply_of
from penstock.protocols.oip.grpc_infer import head_of, streamed, streamed_failure
from penstock.serving.grpc.head import Head, with_timeout
from penstock.serving.grpc.length_prefixed import Reader
from penstock.serving.grpc.replies import INITIAL, prefixed, trailers_of
from penstock.serving.http.exchange import Exchange
from penstock.serving.http.message import Reply, Request
from penstock.serving.http2.stream import Stream

if TYPE_CHECKING:
    from penstock.serving.grpc.connection import GrpcConnection
    from penstock.serving.grpc.door import GrpcDoor


class StreamCall:
    """See the module; a `Sink`. At most so many calls as HTTP takes at once are under way; then no more is read."""

    # fmt: off
    __slots__ = (
        "_advancing", "_bare", "_begun", "_connection", "_door", "_failure", "_head", "_owed", "_reader", "_request",
        "_stream",
    )
    # fmt: on

    def __init__(
        self, connection: GrpcConnection, door: GrpcDoor, stream: Stream, head: Head, request: Request
    ) -> None:
        self._connection = connection
        self._door = door
        self._stream = stream
        self._head = head
        self._request = request
        self._bare = head.headers.get(b"penstock-stream") == b"bare"
        self._reader = Reader(head.encoding, door.largest)
        self._owed: deque[_Owed] = deque()
        self._failure: PenstockError | None = None
        self._begun = False
        self._advancing = False

    def data(self, payload: bytes) -> None:
        """See `Sink`."""
        if self._failure is None:
            self._reader.push(payload)
            self.advance()

    def end(self) -> None:
        """See `Sink`."""
        self.advance()

    def sent(self) -> None:
        """See `Sink`."""
        self.advance()

    def lost(self) -> None:
        """See `Sink`: others may wait for the same batch, so nothing is stopped."""
        self._owed.clear()

    def check(self, now: float) -> None:
        """See `Sink`: a stream may be silent for long."""

    def drain(self) -> None:
        """See `Sink`: what was read is answered, then the client has to go elsewhere."""
        self._failure = Unavailable("too-many-connections", "this node takes no more calls", hint="open another stream")
        self.advance()

    def advance(self) -> None:
        """Send the answers that are there, in their order, and read on; or end."""
        if self._advancing:
            # A call that was answered at once; the loop below goes on with it.
            return
        self._advancing = True
        owed, stream = self._owed, self._stream
        reading = True
        while reading:
            while owed and owed[0].answer is not None and not stream.closed:
                self._send(owed.popleft())
            reading = not stream.closed and self._failure is None and self._read()
        self._advancing = False
        if not owed and not stream.closed and (self._failure is not None or stream.ended):
            self._end()

    def _read(self) -> bool:
        """Begin a call for each message that is here, and let the client send on if there is room; say if any began."""
        stream, reader, grants = self._stream, self._reader, self._connection.session.grants
        began = False
        try:
            while len(self._owed) < self._door.limits.max_pipelined and not stream.out:
                message = reader.next()
                if message is None:
                    break
                began = True
                self._begin(message)
            else:
                return began
        except PenstockError as error:
            self._failure = error
            return False
        # What is here was taken.
        grants.free(stream)
        grants.renew(stream)
        grants.allow(stream, reader.missing)
        return began

    def _begin(self, message: bytes) -> None:
        now, first = self._door.clock(), self._request
        headers = first.headers
        if self._head.timeout_s is not None:
            headers = with_timeout(headers, first.arrived + self._head.timeout_s - now)
        owed = _Owed(self, message)
        self._owed.append(owed)
        found = self._door.infer(Request(first.method, first.url, headers, message, now, first.peer))
        if isinstance(found, Reply):
            owed.answer = found
        else:
            self._connection.began()
            Exchange(owed, close=False, coroutine=found).step()

    def ended(self) -> None:
        """A call of the stream has its answer."""
        self._connection.ended()
        self.advance()

    def _send(self, owed: _Owed) -> None:
        reply, sending = owed.answer, self._connection.session.sending
        assert reply is not None  # noqa: S101 - the caller has just looked
        if self._bare and reply.status != 200:
            self._finish(reply)
            return
        if not self._begun:
            sending.begin(self._stream, INITIAL)
            self._begun = True
        sending.send(self._stream, prefixed(reply.body if self._bare else _wrapped(owed.message, reply)))

    def _end(self) -> None:
        error = self._failure
        if error is None and self._reader.pending:
            error = InvalidInput("truncated-request", "the stream ends in a message")
        self._finish(Reply(200, b"", b"") if error is None else Reply(*grpc_reply_of(error)))

    def _finish(self, reply: Reply) -> None:
        trailers, _ = trailers_of(reply.headers, reply.body)
        self._connection.session.sending.finish(self._stream, trailers if self._begun else INITIAL + trailers)


class _Owed:
    """One message of a stream, and its answer once it is there."""

    __slots__ = ("_call", "answer", "message")

    def __init__(self, call: StreamCall, message: bytes) -> None:
        self._call = call
        self.message = message
        self.answer: Reply | None = None

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """See `Answers`."""
        self.answer = reply
        self._call.ended()


def _wrapped(message: bytes, reply: Reply) -> bytes:
    if reply.status == 200:
        return streamed(reply.body)
    request_id = ""
    with contextlib.suppress(PenstockError):
        request_id = head_of(message)[2]
    return streamed_failure(reply.body.decode(), request_id)
