"""What both clients agree on about httpx: its connections, and what its exceptions mean.

Why httpx, with figures: docs/decisions/sdk-http-library.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from penstock.sdk.messages import Incoming, Lost, Send
from penstock.sdk.security import Security, headers_of, tls_of

_MOST_CONNECTIONS = 100
# Less than the 120 s after which a node closes an idle connection: closed by us first, no call meets the reset.
_IDLE_S = 60


def open_client(address: str, security: Security) -> httpx.Client:
    """A client of our own, for threads. Like the async one it asks no proxy of the environment about a node."""
    limits = httpx.Limits(
        max_connections=_MOST_CONNECTIONS, max_keepalive_connections=_MOST_CONNECTIONS, keepalive_expiry=_IDLE_S
    )
    transport = httpx.HTTPTransport(limits=limits, verify=_tls(address, security))
    return httpx.Client(transport=transport, trust_env=False, headers=headers_of(security))


def open_async_client(address: str, security: Security) -> httpx.AsyncClient:
    """A client of our own, for tasks."""
    transport = _Lanes(_tls(address, security))
    return httpx.AsyncClient(transport=transport, trust_env=False, headers=headers_of(security))


def _tls(address: str, security: Security) -> Any:
    # Without TLS there is nothing to verify, and reading the certificates takes longer than many calls.
    return tls_of(security) if urlsplit(address).scheme == "https" else False


class _Lanes(httpx.AsyncBaseTransport):
    """Connections in pools of one: httpx's own pool looks at every connection for every request.

    With 32 tasks at once that made it four times slower.
    """

    def __init__(self, tls: Any) -> None:
        self._tls = tls
        self._lanes: list[httpx.AsyncHTTPTransport] = []
        self._free: list[httpx.AsyncHTTPTransport] = []
        self._room = asyncio.Semaphore(_MOST_CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request on the lane that was used last, or on a new one."""
        await self._room.acquire()
        lane = self._free.pop() if self._free else self._open()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:  # a cancelled call must give its lane back, too
            self.give_back(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - an async transport's always is
        response.stream = _Answer(response.stream, self, lane)
        return response

    def _open(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_S)
        self._lanes.append(httpx.AsyncHTTPTransport(limits=limits, verify=self._tls))
        return self._lanes[-1]

    def give_back(self, lane: httpx.AsyncHTTPTransport) -> None:
        """The lane's exchange is over."""
        self._free.append(lane)
        self._room.release()

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._lanes:
            await lane.aclose()


class _Answer(httpx.AsyncByteStream):
    """The body of an answer; its lane is free again when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, lanes: _Lanes, lane: httpx.AsyncHTTPTransport) -> None:
        self._stream = stream
        self._lanes = lanes
        self._lane: httpx.AsyncHTTPTransport | None = lane

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        """Give the lane back, once."""
        lane, self._lane = self._lane, None
        if lane is None:
            return
        try:
            await self._stream.aclose()
        finally:
            self._lanes.give_back(lane)


def request_of(http: httpx.Client | httpx.AsyncClient, address: str, send: Send) -> httpx.Request:
    """The request to send to the node at `address`, with the headers of the client's owner beside ours."""
    out = send.outgoing
    return http.build_request(
        out.method, address + out.path, headers=dict(out.headers), content=out.body, timeout=send.timeout_s
    )


def lost(error: httpx.RequestError, *, answering: bool) -> Lost:
    """Where an exchange broke; `answering` says that the head of an answer had arrived."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Lost("timeout", reason)
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return Lost("connect", reason)
    return Lost("in-answer" if answering else "before-answer", reason)


def incoming(response: httpx.Response, body: bytes) -> Incoming:
    """A whole answer as a plain value; httpx gives header names in lower case."""
    return Incoming(response.status_code, dict(response.headers), body)
