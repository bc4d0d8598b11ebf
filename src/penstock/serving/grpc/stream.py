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
from penstock.serving.grpc.length_prefixed import Prefixed, Reader
from penstock.serving.grpc.replies import INITIAL, prefixed, trailers_of
from penstock.serving.http.exchange import Exchange
from penstock.serving.http.message import Reply, Request
from penstock.serving.http2.stream import Sink, Stream

if TYPE_CHECKING:
    from penstock.serving.grpc.connection import GrpcConnection
    from penstock.serving.grpc.door import GrpcDoor


class StreamCall(Sink):
    """See the module. At most so many calls as HTTP takes at once are under way; then no more is read."""

    # fmt: off
    __slots__ = (
        "_bare", "_begun", "_connection", "_door", "_failure", "_head", "_heard", "_owed", "_reader", "_reading",
        "_request", "_running", "_stalled", "_stream",
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
        self._reading = False
        self._stalled = False
        self._running = 0
        self._heard = request.arrived

    def data(self, payload: bytes) -> None:
        """See `Sink`."""
        if self._failure is None:
            self._reader.push(payload)
            self._read_soon()

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
        """See `Sink`: a stream may be silent for long, but not in a message."""
        limit_s = self._door.limits.request_timeout_s
        if self._stalled or self._stream.waiting:
            # It is us whom it waits for.
            self._heard = now
        if self._failure is None and self._reader.missing and now - self._heard > limit_s:
            self._failure = Unavailable("request-timeout", f"a message was not complete after {limit_s:g} s")
            self.advance()

    def drain(self) -> None:
        """See `Sink`: what was read is answered, then the client has to go elsewhere with what it has not sent yet."""
        if self._failure is None and not self._stream.ended:
            self._failure = Unavailable(
                "too-many-connections", "this node takes no more calls", hint="open another stream"
            )
            self.advance()

    def advance(self) -> None:
        """Send the answers that are there, in their order; read on if there is room again, or end."""
        while self._owed and self._owed[0].answer is not None and not self._is_over():
            self._send(self._owed.popleft().answer)
        if self._may_read() and (self._stalled or self._reader.ready):
            self._read_soon()
        left = self._owed or self._stream.out or (self._failure is None and self._reading)
        if not left and not self._is_over() and (self._failure is not None or self._stream.ended):
            self._end()

    def _read_soon(self) -> None:
        # In a turn of its own: thousands of small messages may have come at once, and others have theirs between.
        if not self._reading:
            self._reading = True
            self._door.soon(self._read)

    def _is_over(self) -> bool:
        return self._stream.closed or self._stream.trailers is not None

    def _may_read(self) -> bool:
        room = len(self._owed) < self._door.limits.max_pipelined and not self._stream.out
        return room and self._failure is None and not self._is_over()

    def _read(self) -> None:
        """Begin a call for each message that is here, and let the client send on if there is room."""
        stream, reader, grants = self._stream, self._reader, self._connection.session.grants
        try:
            # Counted: answers that are there at once make room at once.
            for _ in range(self._door.limits.max_pipelined):
                if not self._may_read() or (message := reader.next()) is None:
                    break
                self._begin(message)
        except PenstockError as error:
            self._failure = error
        self._stalled = not self._may_read()
        self._reading = False
        if not self._stalled:
            self._heard = self._door.clock()
            grants.free(stream)
            if reader.missing:
                grants.allow(stream, reader.missing)
            else:
                # What came was taken.
                grants.renew(stream)
        self.advance()

    def _begin(self, message: Prefixed) -> None:
        now, first = self._door.clock(), self._request
        headers = first.headers
        if self._head.timeout_s is not None:
            headers = with_timeout(headers, first.arrived + self._head.timeout_s - now)
        plain = self._reader.plain(message)
        owed = _Owed(self, plain)
        self._owed.append(owed)
        found = self._door.infer(Request(first.method, first.url, headers, plain, now, first.peer))
        if isinstance(found, Reply):
            owed.take(found)
            return
        if self._running == 0:
            # However many of its calls are under way, it is one RPC.
            self._connection.began()
        self._running += 1
        Exchange(owed, close=False, coroutine=found).step()

    def ended(self) -> None:
        """A call of the stream has its answer."""
        self._running -= 1
        if self._running == 0:
            self._connection.ended()
        self.advance()

    def shown(self, message: bytes, reply: Reply) -> bytes | Reply:
        """An answer as it stands in the stream, or the failure that ends it."""
        if self._bare:
            return reply.body if reply.status == 200 else reply
        if reply.status == 200:
            return streamed(reply.body)
        request_id = ""
        with contextlib.suppress(PenstockError):
            request_id = head_of(message)[2]
        return streamed_failure(reply.body.decode(), request_id)

    def _send(self, answer: bytes | Reply | None) -> None:
        sending = self._connection.session.sending
        if not isinstance(answer, bytes):
            assert answer is not None  # noqa: S101 - the caller has just looked
            self._finish(answer)
            return
        if not self._begun:
            sending.begin(self._stream, INITIAL)
            self._begun = True
        sending.send(self._stream, prefixed(answer))

    def _end(self) -> None:
        error = self._failure
        if error is None and self._reader.pending:
            error = InvalidInput("truncated-request", "the stream ends in a message")
        self._finish(Reply(200, b"", b"") if error is None else Reply(*grpc_reply_of(error)))

    def _finish(self, reply: Reply) -> None:
        trailers, _ = trailers_of(reply.headers, reply.body)
        self._connection.session.sending.finish(self._stream, trailers if self._begun else INITIAL + trailers)


class _Owed:
    """One message of a stream, and its answer once it is there; the message is kept no longer."""

    __slots__ = ("_call", "_message", "answer")

    def __init__(self, call: StreamCall, message: bytes) -> None:
        self._call = call
        self._message = message
        self.answer: bytes | Reply | None = None

    def take(self, reply: Reply) -> None:
        """Keep the answer for its turn."""
        self.answer = self._call.shown(self._message, reply)
        self._message = b""

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """See `Answers`."""
        self.take(reply)
        self._call.ended()
