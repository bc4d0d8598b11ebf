"""One event loop of a node behind sockets of its own: it serves, and drains when told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys

from penstock.core.clock import monotonic, wall
from penstock.core.errors import Unavailable
from penstock.serving.http.connection import Connection
from penstock.serving.http.door import Door
from penstock.serving.log import Log
from penstock.serving.service import Service
from penstock.serving.settings import NodeSettings

SWEEP_S = 1.0


class Node:
    """One process of a node. `run` returns after it has drained."""

    def __init__(self, settings: NodeSettings, index: int = 0) -> None:
        self.settings = settings
        self.log = Log(2, json=not sys.stderr.isatty(), clock=wall)
        self.service = Service(settings, index, self.log)
        self.door = Door(self.service.answer, settings.http, monotonic, self.service.body_limit)
        self._stop = asyncio.Event()
        self._stops = 0

    async def run(self) -> None:
        """Serve until a signal says stop, then drain."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._signalled)
        self.service.on_routes = self._take_limits
        self.service.every(SWEEP_S, self.door.sweep)
        await self.service.open()
        server = await loop.create_server(lambda: Connection(self.door), sock=listen(self.settings), backlog=2048)
        self.log.event("serving", address=f"http://{self.settings.host}:{self.settings.port}", pid=os.getpid())
        # What is alive now stays: the collector need not walk it again on a request's time.
        gc.collect()
        gc.freeze()
        await self._stop.wait()
        await self._drain(server)
        await self.service.close()
        self.log.event("stopped")
        self.log.close()

    def _take_limits(self) -> None:
        self.door.smallest_body_limit = self.service.smallest_body_limit()

    def _signalled(self) -> None:
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self.log.close()
            os._exit(1)

    async def _drain(self, server: asyncio.Server) -> None:
        """Not ready at once; go on serving while balancers notice; then take no more and finish what is owed."""
        self.service.not_ready()
        self.log.event("draining", connections=len(self.door.connections))
        await asyncio.sleep(self.settings.settle_s)
        server.close()
        self.door.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.door.emptied.wait(), self.settings.drain_s)


def listen(settings: NodeSettings) -> socket.socket:
    """The listening socket; every process of the node has one on the same port, and the kernel divides connections."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if settings.processes > 1:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            "port-taken", f"cannot listen on {settings.host}:{settings.port}: {error}", hint="choose another --port"
        ) from None
    listener.setblocking(False)
    return listener
