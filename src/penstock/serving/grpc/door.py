"""What all connections of the gRPC port of one process share: the methods, the flow behind them, and their limits.

docs/decisions/grpc-on-our-own-http2.md tells why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from penstock.core.errors import PenstockError, TooLarge
from penstock.protocols.address import ModelAddress
from penstock.protocols.grpc_status import grpc_reply_of
from penstock.serving.board import ACCEPTED, ANSWERED
from penstock.serving.find import caller_of, target_of
from penstock.serving.flow import infer
from penstock.serving.grpc.methods import CallMethod, PageMethod, call_methods, page_methods
from penstock.serving.grpc.oip import INFER, STREAM
from penstock.serving.http.door import HttpLimits
from penstock.serving.http.guests import Guests
from penstock.serving.http.message import Reply, Request
from penstock.serving.http2.session import Http2Limits
from penstock.serving.pages.visit import Visit
from penstock.serving.state import NodeState

_NOWHERE = ModelAddress(None, None, "")


class GrpcDoor(Guests):
    """See the module. `soon` is how work is put off to the end of this turn of the event loop."""

    def __init__(self, node: NodeState, limits: HttpLimits) -> None:
        super().__init__(node.clock)
        self.node = node
        self.limits = limits
        self.http2 = Http2Limits(max_head_bytes=limits.max_head_bytes, room_bytes=limits.max_body_bytes)
        self.soon = asyncio.get_running_loop().call_soon
        self.stream_path = STREAM.encode()
        named: dict[str, CallMethod | PageMethod] = {**call_methods(), **page_methods()}
        self.methods = {name.encode(): method for name, method in named.items()}
        self._infer = call_methods()[INFER]

    def largest(self) -> int:
        """The most bytes a message may have: an endpoint's own limit is held when it is known whom it is for."""
        endpoints = self.node.addresses.endpoints.values()
        return max([self.limits.max_body_bytes, *(endpoint.route.limits.max_body_bytes for endpoint in endpoints)])

    def answer(self, method: CallMethod | PageMethod, request: Request) -> Reply | Coroutine[Any, None, Reply]:
        """Answer one RPC. Nothing raises here."""
        return self._call(method, request) if isinstance(method, CallMethod) else self._page(method, request)

    def infer(self, request: Request) -> Reply | Coroutine[Any, None, Reply]:
        """Answer one message of a stream. Nothing raises here."""
        return self._call(self._infer, request)

    def _call(self, method: CallMethod, request: Request) -> Reply | Coroutine[Any, None, Reply]:
        node = self.node
        node.board.cells[ACCEPTED] += 1
        try:
            address = method.address(request.body)
            caller = caller_of(address, request, node)
            target = target_of(address, node, caller=caller)
            limit = target.endpoint.route.limits.max_body_bytes
            if len(request.body) > limit:
                raise TooLarge("body-too-large", f"the body is larger than the {limit} bytes this endpoint takes")
        except PenstockError as error:
            node.board.cells[ANSWERED] += 1
            return Reply(*method.form.failure(error))
        return infer(request, target, node)

    def _page(self, method: PageMethod, request: Request) -> Reply | Coroutine[Any, None, Reply]:
        cells = self.node.board.cells
        cells[ACCEPTED] += 1
        try:
            found = method.answer(self._visit(method, request))
        except Exception as error:  # `_failed` tells our own defect from what is the caller's
            return self._failed(error)
        if not isinstance(found, bytes):
            return self._later(found)
        cells[ANSWERED] += 1
        return Reply(200, b"", found)

    async def _later(self, found: Awaitable[bytes]) -> Reply:
        try:
            body = await found
        except Exception as error:  # `_failed` tells our own defect from what is the caller's
            return self._failed(error)
        self.node.board.cells[ANSWERED] += 1
        return Reply(200, b"", body)

    def _failed(self, error: Exception) -> Reply:
        self.node.board.cells[ANSWERED] += 1
        if not isinstance(error, PenstockError):
            # Our own defect: the client gets a status and no trace, the log gets all of it.
            self.node.report(error, "grpc")
            error = PenstockError("internal-error", "this node failed on the request")
        return Reply(*grpc_reply_of(error))

    def _visit(self, method: PageMethod, request: Request) -> Visit:
        node = self.node
        if method.address is not None:
            address = method.address(request.body)
            return Visit(request, node, address, caller_of(address, request, node))
        keyed = node.access is not None and not method.open
        caller = node.access.identify(request.headers, request.peer) if keyed and node.access is not None else None
        return Visit(request, node, _NOWHERE, caller)
