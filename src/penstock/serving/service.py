"""What a node does whatever door its requests come through: follows its routes, holds deadlines, answers.

`node.Node` puts sockets of our own before it, `asgi.Application` any ASGI server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import msgspec

from penstock.bundle.bundle import Bundle
from penstock.core.clock import monotonic
from penstock.core.digest import canonical_json
from penstock.core.errors import PenstockError
from penstock.core.routes import FORMAT, Access, Arm, Endpoint, RouteDocument
from penstock.predlog.recorder import Recorder
from penstock.protocols.address import ModelAddress
from penstock.runtime.golden import Cost
from penstock.runtime.worker.client import WorkerRunner
from penstock.security.failures import Failures
from penstock.serving.access import access_table
from penstock.serving.addresses import parse, refusal
from penstock.serving.again import Again
from penstock.serving.applied import Applied, each_applied, write_applied
from penstock.serving.arms import ServedArm
from penstock.serving.board import READY, WORKER_RESTARTS, Board, Boards
from penstock.serving.contracts import named_by_body
from penstock.serving.flow import answer
from penstock.serving.held_back import read_held_back
from penstock.serving.http.message import Reply, Request
from penstock.serving.load import load_arm
from penstock.serving.log import Log
from penstock.serving.overlay import OverlayFile
from penstock.serving.repository import Repository
from penstock.serving.routes_file import RoutesFile
from penstock.serving.settings import NodeSettings
from penstock.serving.shadows import Shadows
from penstock.serving.state import NodeState
from penstock.serving.swap import Swapper
from penstock.serving.workers import LeasedRunner, WorkerKeeper, own_workers, supervised_workers

POLL_S = 0.1
EXPIRE_S = 0.025
RESTARTS_S = 1.0


class Service:
    """One event loop's share of a node, without a door. `on_routes` is called when other routes are obeyed."""

    def __init__(self, settings: NodeSettings, index: int, log: Log) -> None:
        self.settings = settings
        self.log = log
        self.board = Board(settings.state, index)
        self.state = NodeState(
            self.board,
            Boards(settings.state, settings.processes),
            log,
            monotonic,
            held_back=lambda: read_held_back(settings.state),
        )
        # A path that is a contract's own already stays that.
        self.state.aliases = {
            path: meant
            for path, meant in settings.aliases.items()
            if not isinstance(parse(path.encode()), ModelAddress)
        }
        self._failures = Failures(monotonic)
        self._take_access(None)
        self.routes = RoutesFile(settings.routes, settings.state / "routes.json")
        self._again = Again(monotonic)
        self._document = RouteDocument(format=FORMAT, generation=-1, endpoints={})
        self._overlay = OverlayFile(settings.state / "overlay.json")
        self._applying = asyncio.Lock()
        self.state.repository = Repository(
            self._overlay,
            refusal="control" if settings.following is not None else "" if settings.model_control else "off",
            routed=lambda: self._document.endpoints,
            take=self._take_overlay,
            applied=lambda: each_applied(settings.state, settings.processes),
            bundles=settings.bundles,
        )
        self.swapper = Swapper(self.state, self._load, settings.drain_s)
        self.on_routes: Callable[[], None] = lambda: None
        # Several event loops share the model processes: then their supervisor owns them.
        self._keeper = (
            WorkerKeeper(settings.sockets, settings.home, settings.worker_policy(), log.event)
            if settings.processes == 1
            else None
        )
        self._shadow_keeper = (
            WorkerKeeper(settings.shadow_sockets, settings.home, settings.shadow_policy(), log.event)
            if settings.processes == 1
            else None
        )
        self.shadows = Shadows(self.state, self._load_shadow, settings.drain_s, self._shadows_changed)
        self._applied = Applied(generation=-1, digest="")
        self._noting = asyncio.Lock()
        self._notes: set[asyncio.Task[None]] = set()
        self._recorder = (
            Recorder(settings.predictions, settings.home / "salt", index, settings.recording, log.event)
            if settings.recording is not None
            else None
        )
        self._tasks: list[asyncio.Task[NoReturn]] = []

    def answer(self, request: Request) -> Reply | Coroutine[Any, None, Reply]:
        """See `flow.answer`."""
        return answer(request, self.state)

    def body_limit(self, url: bytes) -> int:
        """How large the body of a request to `url` may be."""
        addresses = self.state.addresses
        target = addresses.exact.get(url)
        if target is not None:
            return target.endpoint.route.limits.max_body_bytes
        # A query, a pinned version or an escaped letter must not lead around the limit of the endpoint.
        address = parse(url, self.state.aliases)
        found = None
        if isinstance(address, ModelAddress) and named_by_body(address):
            # Held to the endpoint's own limit once it is known which.
            limits = [endpoint.route.limits.max_body_bytes for endpoint in addresses.endpoints.values()]
            return max([*limits, self.settings.http.max_body_bytes])
        if isinstance(address, ModelAddress):
            # Without a default: whatever comes is refused when it is here.
            with contextlib.suppress(PenstockError):
                found = addresses.endpoints.get(addresses.name(address))
        return found.route.limits.max_body_bytes if found is not None else self.settings.http.max_body_bytes

    def check_head(self, url: bytes, headers: dict[bytes, bytes], peer: str) -> None:
        """See `NodeState.check_head`."""
        self.state.check_head(url, headers, peer)

    def refusal(self, url: bytes, error: PenstockError) -> Reply:
        """See `addresses.refusal`."""
        return refusal(url, error, self.state.aliases)

    def smallest_body_limit(self) -> int:
        """A body that is not larger than this is too large for nobody."""
        limits = [endpoint.route.limits.max_body_bytes for endpoint in self.state.addresses.endpoints.values()]
        return min([*limits, self.settings.http.max_body_bytes])

    async def open(self) -> None:
        """Serve what the routes say now, and begin to follow them and to hold deadlines."""
        self.every(EXPIRE_S, self._expire)
        self.every(RESTARTS_S, self._count_restarts)
        if self._recorder is not None:
            self.every(EXPIRE_S, self._count_records)
            self._tasks.append(asyncio.ensure_future(self._recorder.run()))
        await self._first_routes()
        self._tasks.append(asyncio.ensure_future(self._follow()))

    def every(self, seconds: float, work: Callable[[], None]) -> None:
        """Do `work` again and again until closed."""
        self._tasks.append(asyncio.ensure_future(self._repeat(seconds, work)))

    def not_ready(self) -> None:
        """Tell balancers to send nothing more; what comes is still answered."""
        self.board.cells[READY] = 0

    async def close(self) -> None:
        """Free everything; nothing is in flight any more, or it is given up."""
        for task in self._tasks:
            task.cancel()
        await self.shadows.close()
        await self.swapper.close()
        if self._recorder is not None:
            await asyncio.to_thread(self._recorder.close)
            self._count_records()
        for keeper in (self._keeper, self._shadow_keeper):
            if keeper is not None:
                await keeper.close()

    async def _load(self, name: str, route: Endpoint, arm: Arm) -> ServedArm:
        return await load_arm(name, route, arm, self.settings, self.board, self._recorder, self._start_workers)

    async def _load_shadow(self, name: str, route: Endpoint, arm: Arm) -> ServedArm:
        return await load_arm(
            name, route, arm, self.settings, self.board, self._recorder, self._start_shadow_workers, shadow=True
        )

    async def _start_shadow_workers(self, bundle: Bundle) -> tuple[WorkerRunner, Cost]:
        sockets, policy = self.settings.shadow_sockets, self.settings.shadow_policy()
        if self._shadow_keeper is None:
            return await supervised_workers(sockets, policy, bundle, self.board.index)
        return await own_workers(self._shadow_keeper, sockets, policy.workers, bundle)

    async def _start_workers(self, bundle: Bundle) -> tuple[WorkerRunner, Cost]:
        sockets, policy = self.settings.sockets, self.settings.worker_policy()
        if self._keeper is None:
            return await supervised_workers(sockets, policy, bundle, self.board.index)
        return await own_workers(self._keeper, sockets, policy.workers, bundle)

    # ---- routes

    async def _first_routes(self) -> None:
        """The document as it is now; if that cannot be had, the last good one: a restart must not need anybody."""
        kept = self.routes.kept()
        document = self._poll() or kept
        self.log.event("routes-found", current=document is not kept, kept=kept is not None)
        if document is not None:
            await self._apply(document, kept)

    async def _follow(self) -> NoReturn:
        while True:
            await asyncio.sleep(POLL_S)
            # What is served already is not touched when a document is applied again.
            document = self._poll() or self._again.due()
            if document is not None:
                await self._apply(document)
            else:
                await self._take_overlay()

    async def _take_overlay(self) -> None:
        """Obey what callers loaded and unloaded since."""
        if self._overlay.poll():
            await self._apply(self._document)

    def _poll(self) -> RouteDocument | None:
        try:
            return self.routes.poll()
        except PenstockError as error:
            self.log.event("routes-refused", code=error.code, reason=str(error))
        except OSError as error:
            self.log.event("routes-refused", code="routes-unreadable", reason=str(error))
        return None

    async def _apply(self, document: RouteDocument, kept: RouteDocument | None = None) -> None:
        async with self._applying:
            await self._apply_alone(document, kept)

    async def _apply_alone(self, document: RouteDocument, kept: RouteDocument | None) -> None:
        # First: a revoked key must not go on for as long as a new version takes to load.
        self._take_access(document.access)
        self._document = document
        served = self._overlay.overlay.over(document)
        problems = await self.swapper.apply(served, kept)
        self.state.addresses.known = {**self._overlay.overlay.added, **document.endpoints}
        self.shadows.follow()
        self._again.note(document, problems)
        self.on_routes()
        self._applied = Applied(generation=document.generation, digest=served.digest(), problems=problems)
        await self._note(None if problems else document)

    def _take_access(self, access: Access | None) -> None:
        if access is None and self.settings.require_key:
            access = Access(keys={})
        state = self.state
        state.access = access_table(access, state.access, self.settings.state, self.log.access_caller, self._failures)

    async def _note(self, good: RouteDocument | None = None) -> None:
        """Tell what is served, the problems of shadows included, and keep a document that is served whole."""
        try:
            async with self._noting:
                # On a thread: a slow disk must not hold up the answers.
                await asyncio.to_thread(self._write, msgspec.structs.replace(
                    self._applied, problems=self._applied.problems | self.shadows.problems), good)  # fmt: skip
        except OSError as error:
            # It serves all the same; only a restart would find yesterday's document.
            self.log.event("routes-not-kept", reason=str(error))

    def _write(self, applied: Applied, good: RouteDocument | None) -> None:
        write_applied(self.settings.state, self.board.index, applied)
        if good is not None:
            self.routes.keep(canonical_json(good))

    def _shadows_changed(self) -> None:
        task = asyncio.ensure_future(self._note())
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    # ---- timers

    def _expire(self) -> None:
        for endpoint in self.state.addresses.endpoints.values():
            for arm in endpoint.arms:
                arm.expire()
        # A version that is no longer routed still owes answers in time.
        for arm in self.swapper.retiring:
            arm.expire()
        self.shadows.expire()
        self.state.publish_gauges()

    def _count_restarts(self) -> None:
        for endpoint in self.state.addresses.endpoints.values():
            for arm in endpoint.arms:
                if isinstance(arm.batcher.runner, LeasedRunner):
                    self.board.cells[arm.series + WORKER_RESTARTS] = arm.batcher.runner.restarts()

    def _count_records(self) -> None:
        if self._recorder is not None:
            self.board.count_records(self._recorder.counts())

    async def _repeat(self, seconds: float, work: Callable[[], None]) -> NoReturn:
        while True:
            await asyncio.sleep(seconds)
            try:
                work()
            except Exception as error:  # our own defect; without this timer no deadline would hold any more
                self.state.report(error, "timer")
