"""One event loop of a node behind sockets of its own: it serves, and drains when told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys

from penstock.core.clock import monotonic, wall
from penstock.serving.http.connection import Connection
from penstock.serving.http.door import Door
from penstock.serving.http.guests import Guests
from penstock.serving.listener import Listener, grpc_port, http_port
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
        self.door = Door(
            self.service.answer, settings.http, monotonic, self.service.body_limit, self.service.check_head
        )
        self._doors: list[Guests] = [self.door]
        self._stop = asyncio.Event()
        self._stops = 0

    async def run(self) -> None:
        """Serve until a signal says stop, then drain."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._signalled)
        self.service.on_routes = self._take_limits
        self.service.every(SWEEP_S, self.door.sweep)
        listeners = [await self._open()]
        if self.settings.grpc_port:
            listeners.append(await self._open_grpc())
        scheme = "http" if self.settings.tls is None else "https"
        self.log.event("serving", address=f"{scheme}://{self.settings.host}:{self.settings.port}", pid=os.getpid())
        # What is alive now stays: the collector need not walk it again on a request's time.
        gc.collect()
        gc.freeze()
        await self._stop.wait()
        await self._drain(listeners)
        await self.service.close()
        self.log.event("stopped")
        self.log.close()

    async def _open_grpc(self) -> Listener:
        # Imported here: what it needs is an extra, and takes time of a start.
        from penstock.serving.grpc.connection import GrpcConnection
        from penstock.serving.grpc.door import GrpcDoor

        door = GrpcDoor(self.service.state, self.settings.http)
        listener = Listener(self.settings, grpc_port(self.settings), lambda: GrpcConnection(door), self.log)
        await listener.open()
        self.service.every(SWEEP_S, door.sweep)
        self._doors.append(door)
        address = f"{self.settings.host}:{self.settings.grpc_port}"
        self.log.event("serving-grpc", address=address, tls=self.settings.tls is not None)
        return listener

    async def _open(self) -> Listener:
        """Load what the routes say and listen: then, or already before where balancers wait for it."""
        state = self.service.state
        # Another event loop that is ready would lose calls to this one.
        state.starting = self.settings.early and not state.boards.any_ready()
        listener = (
            Listener(self.settings, http_port(self.settings), lambda: Connection(self.door), self.log)
            if state.starting
            else None
        )
        if listener is not None:
            await listener.open()
        await self.service.open()
        if listener is None:
            listener = Listener(self.settings, http_port(self.settings), lambda: Connection(self.door), self.log)
            await listener.open()
        return listener

    def _take_limits(self) -> None:
        self.door.smallest_body_limit = self.service.smallest_body_limit()

    def _signalled(self) -> None:
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self.log.close()
            os._exit(1)

    async def _drain(self, listeners: list[Listener]) -> None:
        """Not ready at once; go on serving while balancers notice; then take no more and finish what is owed."""
        self.service.not_ready()
        self.log.event("draining", connections=sum(len(door.connections) for door in self._doors))
        await asyncio.sleep(self.settings.settle_s)
        for listener in listeners:
            listener.close()
        for door in self._doors:
            door.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_s):
                for door in self._doors:
                    await door.emptied.wait()
