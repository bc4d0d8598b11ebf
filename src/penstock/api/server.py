"""The doors' sockets: one for everybody, behind TLS if the settings say so, and one of the home for the local node.

Where control is reached by TLS, or from other machines, the local node asks over a Unix socket in the home: it then
needs neither a certificate nor an address. Its key is asked for all the same.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import uvicorn

from penstock.api.app import Guard
from penstock.api.doors import Event
from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.security.tls import TlsSettings, mark_of, server_context

RENEW_S = 1.0
_DRAIN_S = 10


class ControlServer(uvicorn.Server):
    """Uvicorn without its own idea of signals, logs and certificates; the sockets stay the caller's to close."""

    def __init__(
        self, app: Guard, public: socket.socket, private: socket.socket | None, tls: TlsSettings | None, event: Event
    ) -> None:
        """Raises InvalidInput (`invalid-certificate`)."""
        super().__init__(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", server_header=False, ws="none",
                timeout_graceful_shutdown=_DRAIN_S,
            )
        )  # fmt: skip
        self._public = public
        self._private = private
        self._tls = tls
        self._event = event
        # Here, so that what cannot be used is told before anything runs.
        self._context = server_context(tls) if tls is not None else None
        self.servers = []
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so."""
        await self._open(self._public, self._context)
        if self._private is not None:
            await self._open(self._private, None)
        self.begun.set()

    async def renew(self) -> NoReturn:
        """Show a certificate that replaced the first one, to new connections."""
        tls = self._tls
        seen = mark_of(tls) if tls is not None else ()
        while True:
            await asyncio.sleep(RENEW_S)
            if tls is None or mark_of(tls) == seen:
                continue
            seen = mark_of(tls)
            try:
                context = server_context(tls)
            except PenstockError as error:
                self._event("certificate-refused", code=error.code, reason=str(error))
                continue
            old = self.servers.pop(0)
            await self._open(self._public, context, first=True)
            old.close()
            self._event("certificate-renewed", certificate=str(tls.certificate))

    async def _open(self, listener: socket.socket, context: ssl.SSLContext | None, *, first: bool = False) -> None:
        others = self.servers
        self.config.ssl = context
        # A copy: closing a server closes its socket, and a renewed certificate needs a server of its own over it.
        await super().startup([listener.dup()])
        self.servers = [*self.servers, *others] if first else [*others, *self.servers]

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them to `penstock up`: the node is to drain first."""
        yield


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """The socket for everybody; raises Unavailable (`port-taken`)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise Unavailable(
                "port-taken", f"cannot listen on {host}:{port}: {error}", hint="choose another --port"
            ) from None
        yield listener


@contextmanager
def listen_here(path: Path) -> Iterator[socket.socket]:
    """The socket of the home, which is its owner's alone; raises InvalidInput (`unusable-home`)."""
    # What a killed control left: only one runs in a home.
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(str(path))
            path.chmod(0o600)
        except OSError as error:
            raise InvalidInput(
                "unusable-home", f"no socket can be made at {path}: {error}", hint="choose a --home with a shorter path"
            ) from None
        try:
            yield listener
        finally:
            with suppress(OSError):
                path.unlink()
