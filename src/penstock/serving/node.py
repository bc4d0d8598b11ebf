"""One event loop of a node: it puts the parts together, serves, follows its routes and drains."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine

from penstock.bundle.bundle import Bundle
from penstock.core.clock import monotonic, wall
from penstock.core.digest import canonical_json
from penstock.core.errors import PenstockError, Unavailable
from penstock.core.routes import Arm, Endpoint, RouteDocument
from penstock.runtime.batcher import Pending
from penstock.runtime.golden import Cost
from penstock.runtime.worker.client import WorkerRunner
from penstock.serving.arms import ServedArm
from penstock.serving.board import READY, Board, Boards
from penstock.serving.flow import answer
from penstock.serving.http.connection import Door
from penstock.serving.http.message import Reply, Request
from penstock.serving.load import load_arm
from penstock.serving.log import Log
from penstock.serving.routes_file import RoutesFile
from penstock.serving.settings import NodeSettings
from penstock.serving.state import NodeState
from penstock.serving.swap import Swapper
from penstock.serving.workers import WorkerKeeper, own_workers, supervised_workers

POLL_S = 0.1
EXPIRE_S = 0.025
SWEEP_S = 1.0


class Node:
    """One process of a node. `run` returns after it has drained."""

    def __init__(self, settings: NodeSettings, index: int = 0) -> None:
        self.settings = settings
        self.log = Log(2, json=not sys.stderr.isatty(), clock=wall)
        self.board = Board(settings.state, index)
        boards = Boards(settings.state, settings.processes)
        self.state = NodeState(self.board, boards, self.log, monotonic)
        self.door = Door(self._answer, settings.http, monotonic, self._body_limit)
        self.routes = RoutesFile(settings.routes, settings.state / "routes.json")
        self.swapper = Swapper(self.state, self._load, settings.drain_s)
        # Several event loops share the model processes: then their supervisor owns them.
        self.keeper = (
            WorkerKeeper(settings.sockets, settings.home, settings.worker_policy(), self.log.event)
            if settings.processes == 1
            else None
        )
        self._stop = asyncio.Event()
        self._stops = 0

    async def run(self) -> None:
        """Serve until a signal says stop, then drain."""
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._signalled)
        timers = [
            asyncio.ensure_future(work)
            for work in (self._every(EXPIRE_S, self._expire), self._every(SWEEP_S, self.door.sweep))
        ]
        await self._first_routes()
        server = await loop.create_server(self.door.connect, sock=listen(self.settings), backlog=2048)
        self.log.event("serving", address=f"http://{self.settings.host}:{self.settings.port}", pid=os.getpid())
        # What is alive now stays: the collector need not walk it again on a request's time.
        gc.collect()
        gc.freeze()
        follow = asyncio.ensure_future(self._follow())
        await self._stop.wait()
        follow.cancel()
        await self._drain(server)
        for timer in timers:
            timer.cancel()
        await self.swapper.close()
        if self.keeper is not None:
            await self.keeper.close()
        self.log.event("stopped")
        self.log.close()

    def _answer(self, request: Request) -> Reply | Coroutine[Pending, None, Reply]:
        return answer(request, self.state)

    def _body_limit(self, url: bytes) -> int:
        target = self.state.addresses.exact.get(url)
        return target.endpoint.route.limits.max_body_bytes if target is not None else self.settings.http.max_body_bytes

    async def _load(self, name: str, route: Endpoint, arm: Arm) -> ServedArm:
        return await load_arm(name, route, arm, self.settings, self.board, self._start_workers)

    async def _start_workers(self, bundle: Bundle) -> tuple[WorkerRunner, Cost]:
        sockets, policy = self.settings.sockets, self.settings.worker_policy()
        if self.keeper is None:
            return await supervised_workers(sockets, policy, bundle)
        return await own_workers(self.keeper, sockets, policy.workers, bundle)

    # ---- routes

    async def _first_routes(self) -> None:
        """The document as it is now; if that cannot be had, the last good one: a restart must not need anybody."""
        try:
            document = self.routes.poll()
        except PenstockError as error:
            self.log.event("routes-refused", code=error.code, reason=str(error))
            document = None
        if document is None:
            document = self.routes.kept()
            self.log.event("routes-kept", found=document is not None)
        if document is not None:
            await self._apply(document)

    async def _follow(self) -> None:
        generation = -1
        while True:
            await asyncio.sleep(POLL_S)
            try:
                document = self.routes.poll()
            except (PenstockError, OSError) as error:
                self.log.event("routes-refused", reason=str(error))
                continue
            if document is None:
                continue
            if document.generation < generation:
                self.log.event("routes-refused", reason=f"generation {document.generation} is older than {generation}")
                continue
            generation = document.generation
            await self._apply(document)

    async def _apply(self, document: RouteDocument) -> None:
        problems = await self.swapper.apply(document)
        limits = [endpoint.route.limits.max_body_bytes for endpoint in self.state.addresses.endpoints.values()]
        self.door.smallest_body_limit = min([*limits, self.settings.http.max_body_bytes])
        if not problems:
            self.routes.keep(canonical_json(document))

    # ---- timers and the end

    def _expire(self) -> None:
        for endpoint in self.state.addresses.endpoints.values():
            for arm in endpoint.arms:
                arm.expire()
        self.state.publish_gauges()

    async def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            work()

    def _signalled(self) -> None:
        self._stops += 1
        self._stop.set()
        if self._stops > 1:
            self.log.close()
            os._exit(1)

    async def _drain(self, server: asyncio.Server) -> None:
        """Not ready at once; go on serving while balancers notice; then take no more and finish what is owed."""
        self.board.cells[READY] = 0
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
