"""ModelStreamInfer: one call for each message of a stream, answered in the order of the messages.

An answer is Triton's ModelStreamInferResponse, which tritonclient reads, and a failed call leaves the stream open. With
the metadata `penstock-stream: bare` it is a ModelInferResponse, as MLServer has it, and a failed call ends the stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from penstock.core.clock import Clock
from penstock.core.errors import PenstockError, Unavailable
from penstock.protocols.grpc_status import grpc_reply_of
from penstock.protocols.oip.grpc_infer import head_of, streamed, streamed_failure
from penstock.serving.grpc.exchange import Context, answered, request_of
from penstock.serving.grpc.methods import CallMethod
from penstock.serving.http.message import Reply, Request

Owed = tuple[bytes, Reply | asyncio.Future[Reply]]


class Streams:
    """The streams of one server. At most `most` calls of a stream are under way; then no more is read of it."""

    def __init__(
        self, begin: Callable[[CallMethod, Request], Reply | asyncio.Future[Reply]], method: CallMethod, most: int
    ) -> None:
        self._begin = begin
        self._method = method
        self._most = most
        self._readers: set[asyncio.Task[None]] = set()
        self._draining = False

    def drain(self) -> None:
        """Read no more; what was read is answered."""
        self._draining = True
        for reader in self._readers:
            reader.cancel()

    async def answers(self, messages: AsyncIterator[bytes], context: Context, clock: Clock) -> AsyncIterator[bytes]:
        """The answers of one stream."""
        owed: asyncio.Queue[Owed | None] = asyncio.Queue()
        room = asyncio.Semaphore(self._most)
        reader = asyncio.ensure_future(self._read(messages, context, clock, owed, room))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        bare = ("penstock-stream", "bare") in [tuple(pair) for pair in context.invocation_metadata()]
        try:
            while (found := await owed.get()) is not None:
                message, reply = found
                body = reply if isinstance(reply, Reply) else await reply
                room.release()
                yield await answered(body, context) if bare else _wrapped(message, body)
        finally:
            reader.cancel()
        if self._draining:
            error = Unavailable("too-many-connections", "this node takes no more calls", hint="open another stream")
            await answered(Reply(*grpc_reply_of(error)), context)

    async def _read(
        self, messages: AsyncIterator[bytes], context: Context, clock: Clock, owed: asyncio.Queue[Owed | None],
        room: asyncio.Semaphore,
    ) -> None:  # fmt: skip
        try:
            async for message in messages:
                await room.acquire()
                request = request_of(b"ModelStreamInfer", context, clock())
                request.body = message
                owed.put_nowait((message, self._begin(self._method, request)))
        finally:
            # Also where it is cancelled, or the client is gone.
            owed.put_nowait(None)


def _wrapped(message: bytes, reply: Reply) -> bytes:
    if reply.status == 200:
        return streamed(reply.body)
    request_id = ""
    with contextlib.suppress(PenstockError):
        request_id = head_of(message)[2]
    return streamed_failure(reply.body.decode(), request_id)
