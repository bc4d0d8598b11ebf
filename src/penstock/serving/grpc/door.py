"""The gRPC server of one event loop, on grpc.aio: handlers that get and give bytes, and the flow behind them.

docs/decisions/grpc-on-the-event-loop.md tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from penstock.core.errors import InvalidInput, PenstockError, TooLarge, Unavailable
from penstock.protocols.address import ModelAddress
from penstock.protocols.grpc_status import CODES, grpc_reply_of
from penstock.serving.board import ACCEPTED, ANSWERED
from penstock.serving.driving import drive
from penstock.serving.find import caller_of, target_of
from penstock.serving.flow import infer
from penstock.serving.grpc.credentials import credentials_of
from penstock.serving.grpc.exchange import Context, answered, refused, request_of
from penstock.serving.grpc.library import grpc
from penstock.serving.grpc.methods import CallMethod, PageMethod, call_methods, page_methods
from penstock.serving.grpc.oip import INFER, STREAM
from penstock.serving.grpc.stream import Streams
from penstock.serving.http.message import Reply, Request
from penstock.serving.pages.visit import Visit
from penstock.serving.service import Service
from penstock.serving.settings import NodeSettings

_MOST_STREAMS = 1024
_NOWHERE = ModelAddress(None, None, "")


class GrpcDoor(grpc.GenericRpcHandler):  # type: ignore[misc]  # the library has no types
    """See the module. `open` begins to answer, `close` takes no more and finishes what is owed."""

    def __init__(self, settings: NodeSettings, service: Service) -> None:
        self._settings = settings
        self._service = service
        self._node = service.state
        self._calls = call_methods()
        self._pages = page_methods()
        self._streams = Streams(self.begin, self._calls[INFER], settings.http.max_pipelined)

    async def open(self) -> None:
        """Listen; raises Unavailable (`port-taken`), InvalidInput for a wrong certificate."""
        settings, http = self._settings, self._settings.http
        endpoints = self._node.addresses.endpoints.values()
        # The largest that any endpoint takes; a smaller limit is held when it is known whom a message is for.
        largest = max([http.max_body_bytes, *[endpoint.route.limits.max_body_bytes for endpoint in endpoints]])
        self._server = grpc.aio.server(
            handlers=(self,),
            options=(
                ("grpc.so_reuseport", int(settings.processes > 1)),
                ("grpc.max_receive_message_length", largest),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", http.max_head_bytes),
                ("grpc.absolute_max_metadata_size", http.max_head_bytes),
                ("grpc.max_concurrent_streams", _MOST_STREAMS),
                ("grpc.max_connection_idle_ms", int(http.idle_timeout_s * 1e3)),
            ),
        )
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"{host}:{settings.grpc_port}"
        try:
            if settings.tls is None:
                self._server.add_insecure_port(address)
            else:
                self._server.add_secure_port(address, credentials_of(settings.tls, self._service.log))
        except RuntimeError:
            raise Unavailable(
                "port-taken", f"cannot listen on {address} for gRPC", hint="choose another --grpc-port"
            ) from None
        await self._server.start()
        self._service.log.event("serving-grpc", address=address, tls=settings.tls is not None)

    async def close(self) -> None:
        """Take no more, end streams after what they are owed, and wait for the rest as long as the node may."""
        self._streams.drain()
        await self._server.stop(self._settings.drain_s)

    def service(self, handler_call_details: Any) -> Any:
        """What answers a method, asked before its message is read; None if there is no such method."""
        name: str = handler_call_details.method
        call = self._calls.get(name)
        if call is not None:
            return self._handler(call, name.encode(), read=True)
        page = self._pages.get(name)
        if page is not None:
            return self._handler(page, name.encode(), read=not page.open)
        if name == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._stream)
        return None

    def _handler(self, method: CallMethod | PageMethod, name: bytes, *, read: bool) -> Any:
        async def unary(message: bytes, context: Context) -> bytes:
            try:
                request = request_of(name, context, self._node.clock())
            except PenstockError as error:
                return await answered(Reply(*grpc_reply_of(error)), context)
            request.body = message
            return await self._answer(method, request, context)

        async def reading(messages: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                request = request_of(name, context, self._node.clock())
                if read:
                    request.body = await self._message(messages, request)
            except PenstockError as error:
                return await answered(Reply(*grpc_reply_of(error)), context)
            return await self._answer(method, request, context)

        if read and self._node.access is None:
            return grpc.unary_unary_rpc_method_handler(unary)
        # As a stream, a message is read when it is asked for: nobody without a key makes the node hold one.
        return grpc.stream_unary_rpc_method_handler(reading)

    async def _message(self, messages: AsyncIterator[bytes], request: Request) -> bytes:
        """The only message of a call, read once it is known who sends it."""
        if self._node.access is not None:
            self._node.access.identify(request.headers, request.peer)
        try:
            async with asyncio.timeout(self._settings.http.request_timeout_s):
                async for message in messages:
                    return message
        except TimeoutError:
            limit_s = self._settings.http.request_timeout_s
            raise Unavailable("request-timeout", f"the request was not complete after {limit_s:g} s") from None
        raise InvalidInput("truncated-request", "the request ends before it is complete")

    async def _answer(self, method: CallMethod | PageMethod, request: Request, context: Context) -> bytes:
        if isinstance(method, CallMethod):
            reply = self.begin(method, request)
            return await answered(reply if isinstance(reply, Reply) else await reply, context)
        cells = self._node.board.cells
        cells[ACCEPTED] += 1
        try:
            found = method.answer(self._visit(method, request))
            body = found if isinstance(found, bytes) else await found
        except PenstockError as error:
            return await answered(Reply(*grpc_reply_of(error)), context)
        except Exception as error:  # our own defect: the client gets a status and no trace, the log gets all of it
            self._node.report(error, "grpc")
            await refused(context, CODES["internal"], "this node failed on the request")
        finally:
            cells[ANSWERED] += 1
        return body

    def _visit(self, method: PageMethod, request: Request) -> Visit:
        node = self._node
        if method.address is not None:
            address = method.address(request.body)
            return Visit(request, node, address, caller_of(address, request, node))
        keyed = node.access is not None and not method.open
        caller = node.access.identify(request.headers, request.peer) if keyed and node.access is not None else None
        return Visit(request, node, _NOWHERE, caller)

    def begin(self, method: CallMethod, request: Request) -> Reply | asyncio.Future[Reply]:
        """Answer one call to a model. Nothing raises here."""
        node = self._node
        node.board.cells[ACCEPTED] += 1
        try:
            address = method.address(request.body)
            caller_of(address, request, node)
            target = target_of(address, node)
            limit = target.endpoint.route.limits.max_body_bytes
            if len(request.body) > limit:
                raise TooLarge("body-too-large", f"the body is larger than the {limit} bytes this endpoint takes")
        except PenstockError as error:
            node.board.cells[ANSWERED] += 1
            return Reply(*method.form.failure(error))
        return drive(infer(request, target, node))

    async def _stream(self, messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            request = request_of(STREAM.encode(), context, self._node.clock())
            if self._node.access is not None:
                self._node.access.identify(request.headers, request.peer)
        except PenstockError as error:
            await answered(Reply(*grpc_reply_of(error)), context)
        async for body in self._streams.answers(messages, context, self._node.clock):
            yield body
