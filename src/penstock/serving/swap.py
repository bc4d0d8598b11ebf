"""From one generation of routes to the next without losing a request.

Everything new is loaded beside what is served, then one reference is replaced, then what is no longer routed is freed
when its last call is answered. An endpoint of which an arm cannot be loaded keeps its old arms, and the reason is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from penstock.core.errors import PenstockError
from penstock.core.routes import Arm, Endpoint, RouteDocument
from penstock.serving.addresses import Addresses
from penstock.serving.arms import ServedArm, ServedEndpoint
from penstock.serving.board import GENERATION, READY
from penstock.serving.state import NodeState

Load = Callable[[str, Endpoint, Arm], Awaitable[ServedArm]]


class Swapper:
    """Applies route documents to a node, one at a time."""

    def __init__(self, node: NodeState, load: Load, patience_s: float) -> None:
        self._node = node
        self._load = load
        self._patience_s = patience_s
        self._lock = asyncio.Lock()
        self.retiring = node.retiring
        self._tasks: set[asyncio.Task[None]] = set()

    async def apply(self, document: RouteDocument, kept: RouteDocument | None = None) -> dict[str, str]:
        """Make the node serve `document`; returns the endpoints that could not be changed, with the reason of each.

        Such an endpoint goes on as it is; one that is not served yet begins as it was in `kept`, the last good
        document, so that a restart after a bad publication serves what was served before it.
        """
        async with self._lock:
            node, old = self._node, self._node.addresses.endpoints
            problems: dict[str, str] = {}
            new: dict[str, ServedEndpoint] = {}
            node.wanted = document.endpoints
            for name, route in document.endpoints.items():
                try:
                    new[name] = await self._endpoint(name, route, old.get(name))
                except PenstockError as error:
                    problems[name] = str(error)
                    node.log.event("load-refused", endpoint=name, code=error.code, reason=str(error))
                except Exception as error:  # a broken model file can make any library raise anything
                    problems[name] = f"{type(error).__name__}: {str(error)[:300]}"
                    node.log.event("load-failed", endpoint=name, reason=problems[name])
                if name in problems and name in old:
                    new[name] = old[name]
                elif name in problems and kept is not None and name in kept.endpoints:
                    await self._as_before(name, kept.endpoints[name], new)
            # The one moment of the swap: requests that have chosen their arm keep it, the next ones see the new table.
            node.addresses = Addresses(new, node.log)
            node.problems = problems
            node.board.cells[GENERATION] = document.generation
            node.board.cells[READY] = 1
            node.starting = False
            node.log.event("routes-applied", generation=document.generation, endpoints=len(new), problems=len(problems))
            for endpoint in new.values():
                for served in endpoint.arms:
                    if served.records is not None:
                        served.records.follow(endpoint.route.recording)
            self._retire(old, new)
            return problems

    async def _as_before(self, name: str, route: Endpoint, new: dict[str, ServedEndpoint]) -> None:
        try:
            new[name] = await self._endpoint(name, route, None)
        except Exception as error:  # its problem is told already: this is only the attempt to do better
            self._node.log.event("load-failed", endpoint=name, reason=str(error)[:300])

    async def _endpoint(self, name: str, route: Endpoint, old: ServedEndpoint | None) -> ServedEndpoint:
        """The endpoint with every arm loaded; one that only changed its weight or name is taken over as it is."""
        if old is not None and old.route == route:
            return old
        arms: list[ServedArm] = []
        kept = {_identity(old.route, arm.arm): arm for arm in old.arms} if old is not None else {}
        wanted = {_identity(route, arm) for arm in route.arms}
        # What a rollout called otherwise while it went on; a copy that is asked for beside the other is loaded.
        spare = {identity[1:]: arm for identity, arm in kept.items() if identity not in wanted}
        try:
            for arm in route.arms:
                identity = _identity(route, arm)
                found = kept.get(identity) or spare.pop(identity[1:], None)
                arms.append(found if found is not None else await self._load(name, route, arm))
        except BaseException:
            for arm_loaded in arms:
                if arm_loaded not in kept.values():
                    await arm_loaded.retire(0)
            raise
        for served, arm in zip(arms, route.arms, strict=True):
            if served.arm.name != arm.name:
                served.rename(arm)
        return ServedEndpoint(name, route, tuple(arms))

    def _retire(self, old: Mapping[str, ServedEndpoint], new: Mapping[str, ServedEndpoint]) -> None:
        serving = {arm for endpoint in new.values() for arm in endpoint.arms}
        labels = {arm.labels for arm in serving}
        for endpoint in old.values():
            for arm in endpoint.arms:
                if arm not in serving:
                    task = asyncio.ensure_future(self._free(arm, arm.labels not in labels))
                    self.retiring.add(arm)
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    async def _free(self, arm: ServedArm, last: bool) -> None:
        await arm.retire(self._patience_s)
        self.retiring.discard(arm)
        if last:
            self._node.board.retire(arm.labels)
        self._node.log.event("version-freed", endpoint=arm.endpoint, arm=arm.arm.name, version=arm.arm.version)

    async def close(self) -> None:
        """Free everything; called when no request is in flight any more."""
        for endpoint in self._node.addresses.endpoints.values():
            for arm in endpoint.arms:
                await arm.retire(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._patience_s)


def _identity(route: Endpoint, arm: Arm) -> tuple[object, ...]:
    """What makes two arms the same loaded thing, the name first: all but the weight.

    A batch size or a cache is built into it.
    """
    return (arm.name, arm.version, arm.bundle, arm.uri, route.isolation, route.limits.max_batch_rows, route.cache)
