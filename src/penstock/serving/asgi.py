"""The same flow behind any ASGI server: `uvicorn --factory my_node:app`, or a test that needs no socket.

    from penstock.serving.asgi import Application
    app = Application(settings)          # one event loop; the server's lifespan opens and closes it

It is the reference for what an answer must be; `node.Node` is the fast way to give it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import numpy as np

from penstock.core.clock import monotonic, wall
from penstock.core.errors import InvalidInput, PenstockError, TooLarge
from penstock.serving.access import HEADERS
from penstock.serving.driving import drive
from penstock.serving.http.message import Reply, Request
from penstock.serving.log import Log
from penstock.serving.service import Service
from penstock.serving.settings import NodeSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ONLY_ONCE = frozenset({b"content-length", b"inference-header-content-length", *HEADERS})


class Application:
    """An ASGI application: a node of one event loop that logs to a file descriptor. Host and port are the server's."""

    def __init__(self, settings: NodeSettings, log_descriptor: int = 2) -> None:
        self._settings = msgspec.structs.replace(settings, processes=1)
        self._log_descriptor = log_descriptor
        self._service: Service | None = None
        self._running: set[asyncio.Future[Reply]] = set()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection scope, as the ASGI specification has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await _send_reply(await self._reply(scope, receive), scope["method"] == "HEAD", send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                log = Log(self._log_descriptor, json=not os.isatty(self._log_descriptor), clock=wall)
                self._service = Service(self._settings, 0, log)
                await self._service.open()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self._close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _close(self) -> None:
        service = self._service
        if service is None:
            return
        service.not_ready()
        if self._running:
            await asyncio.wait(self._running, timeout=self._settings.drain_s)
        await service.close()
        service.log.close()

    async def _reply(self, scope: Message, receive: Receive) -> Reply:
        service = self._service
        if service is None:
            raise RuntimeError("the server does not run the lifespan protocol, which loads the models")
        url: bytes = scope.get("raw_path") or scope["path"].encode()
        try:
            request = await _read(scope, url, receive, service)
        except PenstockError as error:
            return service.refusal(url, error)
        # The server's loop is not ours: what overflows is refused by the binder, numpy need not warn.
        with np.errstate(over="ignore"):
            found = service.answer(request)
            if isinstance(found, Reply):
                return found
            begun = drive(found)
        if isinstance(begun, Reply):
            return begun
        self._running.add(begun)
        begun.add_done_callback(self._running.discard)
        # A client that goes away cancels us, not what closing waits for.
        return await asyncio.shield(begun)


async def _read(scope: Message, url: bytes, receive: Receive, service: Service) -> Request:
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in _ONLY_ONCE:
            raise InvalidInput("conflicting-headers", f"the header {name.decode('latin-1')} is sent twice")
        headers[name] = value
    limit = service.body_limit(url)
    if scope["query_string"]:
        url += b"?" + scope["query_string"]
    parts: list[bytes] = []
    peer = str(scope["client"][0]) if scope.get("client") else ""
    size, more, asked = 0, True, False
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidInput("truncated-request", "the request ends before it is complete")
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > limit:
            raise TooLarge("body-too-large", f"the body is larger than the {limit} bytes this endpoint takes")
        if more and size and not asked:
            asked = True
            service.check_head(url, headers, peer)
    return Request(scope["method"].encode(), url, headers, b"".join(parts), monotonic(), peer)


async def _send_reply(reply: Reply, bodiless: bool, send: Send) -> None:
    lines = [line.partition(b": ") for line in reply.headers.split(b"\r\n") if line]
    headers = [(name, value) for name, _, value in lines]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bodiless else reply.body})
