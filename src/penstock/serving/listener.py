"""A port of one event loop: a listening socket, TLS before it if the settings say so, and certificates as they come.

A renewed certificate gets a context of its own, and a new server over the same listening socket: what was accepted goes
on as it began, what waits in the kernel's queue is not lost, and no context is changed while handshakes read it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import NoReturn

import msgspec

from penstock.core.errors import PenstockError, Unavailable
from penstock.security.tls import TlsSettings, mark_of, server_context
from penstock.serving.log import Log
from penstock.serving.settings import NodeSettings

RENEW_S = 1.0
_BACKLOG = 2048


class Port(msgspec.Struct, frozen=True):
    """Where to listen: a number, the option that sets it, and the protocol there as ALPN names it."""

    number: int
    option: str
    protocol: str


def http_port(settings: NodeSettings) -> Port:
    """The port for HTTP/1.1."""
    return Port(settings.port, "--port", "http/1.1")


def grpc_port(settings: NodeSettings) -> Port:
    """The port for gRPC."""
    return Port(settings.grpc_port, "--grpc-port", "h2")


class Listener:
    """`open` begins to accept, `close` stops it; connections that are open are not its affair."""

    def __init__(
        self, settings: NodeSettings, port: Port, connect: Callable[[], asyncio.BaseProtocol], log: Log
    ) -> None:
        self._settings = settings
        self._port = port
        self._connect = connect
        self._log = log
        self._socket = listen(settings, port)
        self._renewing: asyncio.Task[NoReturn] | None = None

    async def open(self) -> None:
        """Accept connections; raises InvalidInput when the certificate cannot be used."""
        tls = self._settings.tls
        # Before the files are read: a change between the two is then seen as one.
        mark = mark_of(tls) if tls is not None else ()
        self._server = await self._serve()
        if tls is not None:
            self._renewing = asyncio.ensure_future(self._renew(tls, mark))

    def close(self) -> None:
        """Accept no more."""
        if self._renewing is not None:
            self._renewing.cancel()
        self._server.close()
        self._socket.close()

    async def _serve(self) -> asyncio.Server:
        tls, loop = self._settings.tls, asyncio.get_running_loop()
        # A copy: closing a server closes its socket.
        copy = self._socket.dup()
        if tls is None:
            return await loop.create_server(self._connect, sock=copy, backlog=_BACKLOG)
        try:
            context = server_context(tls, self._port.protocol)
        except BaseException:
            copy.close()
            raise
        patience_s = self._settings.http.request_timeout_s
        return await loop.create_server(
            self._connect, sock=copy, backlog=_BACKLOG, ssl=context, ssl_handshake_timeout=patience_s
        )

    async def _renew(self, tls: TlsSettings, seen: tuple[object, ...]) -> NoReturn:
        while True:
            await asyncio.sleep(RENEW_S)
            mark = mark_of(tls)
            if mark == seen:
                continue
            # Seen also when it is refused: a certificate whose key is still to come is told once, not every second.
            seen = mark
            try:
                server = await self._serve()
            except PenstockError as error:
                self._log.event("certificate-refused", port=self._port.number, code=error.code, reason=str(error))
                continue
            self._server.close()
            self._server = server
            self._log.event("certificate-renewed", port=self._port.number, certificate=str(tls.certificate))


def listen(settings: NodeSettings, port: Port) -> socket.socket:
    """The listening socket; every process of the node has one on the same port, and the kernel divides connections."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.processes > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, port.number))
    except OSError as error:
        listener.close()
        raise Unavailable(
            "port-taken",
            f"cannot listen on {settings.host}:{port.number}: {error}",
            hint=f"choose another {port.option}",
        ) from None
    listener.setblocking(False)
    return listener
