"""The shadows of a node's endpoints: loaded beside what serves, sooner or later, and freed with their routes.

Nothing waits for a shadow: an endpoint serves before its shadow is loaded, and when it cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

from penstock.core.errors import PenstockError
from penstock.core.routes import Arm, Endpoint, Shadow
from penstock.serving.again import pause_s
from penstock.serving.arms import ServedArm
from penstock.serving.shadow import ServedShadow
from penstock.serving.state import NodeState

Load = Callable[[str, Endpoint, Arm], Awaitable[ServedArm]]
_Key = tuple[object, ...]


class Shadows:
    """Keeps to the routes that the node serves.

    `problems` are by `ENDPOINT/shadow NAME`; `changed` is called when they change otherwise than by `follow`.
    """

    def __init__(self, node: NodeState, load: Load, patience_s: float, changed: Callable[[], None]) -> None:
        self.problems: dict[str, str] = {}
        self._node = node
        self._load = load
        self._patience_s = patience_s
        self._changed = changed
        self._loaded: dict[_Key, ServedShadow] = {}
        self._loading: dict[_Key, asyncio.Task[None]] = {}
        self._failures: dict[_Key, int] = {}
        self._closed = False
        self._freeing: set[asyncio.Task[None]] = set()
        # One at a time: loading takes the core from those who wait for an answer.
        self._one = asyncio.Lock()

    def follow(self) -> None:
        """Give the endpoints the shadows that are loaded, begin to load the others, free what no route has."""
        if self._closed:
            return
        wanted = {key: (name, route, shadow) for key, name, route, shadow in self._wanted()}
        for key in self._loaded.keys() - wanted.keys():
            self._free(self._loaded.pop(key))
        named = {_said(name, shadow) for name, _, shadow in wanted.values()}
        self.problems = {said: why for said, why in self.problems.items() if said in named}
        self._failures = {key: count for key, count in self._failures.items() if key in wanted}
        for key, (name, route, shadow) in wanted.items():
            if key not in self._loaded and key not in self._loading:
                self._loading[key] = asyncio.ensure_future(self._load_one(key, name, route, shadow))
        self._attach()

    def expire(self) -> None:
        """Give up what is past its deadline."""
        for shadow in self._loaded.values():
            shadow.served.expire()

    async def close(self) -> None:
        """Free all."""
        self._closed = True
        for task in self._loading.values():
            task.cancel()
        for shadow in self._loaded.values():
            self._free(shadow)
        if tasks := [*self._loading.values(), *self._freeing]:
            await asyncio.wait(tasks, timeout=self._patience_s)

    def _wanted(self) -> Iterator[tuple[_Key, str, Endpoint, Shadow]]:
        for name, endpoint in self._node.addresses.endpoints.items():
            route = endpoint.route
            for shadow in route.shadows:
                built_in = (shadow.name, shadow.version, shadow.bundle, shadow.uri)
                yield (name, *built_in, route.isolation, route.limits.max_batch_rows), name, route, shadow

    def _attach(self) -> None:
        found: dict[str, list[ServedShadow]] = {}
        for key, name, route, shadow in self._wanted():
            if key in self._loaded:
                loaded, limits = self._loaded[key], route.limits
                loaded.follow(shadow, limits.deadline_ms / 1e3, limits.max_batch_rows, route.recording)
                found.setdefault(name, []).append(loaded)
        for name, endpoint in self._node.addresses.endpoints.items():
            endpoint.shadows = tuple(found.get(name, ()))

    async def _load_one(self, key: _Key, name: str, route: Endpoint, shadow: Shadow) -> None:
        """Load it; where that fails, tell why and look again later. Never broken off: `follow` frees what is late."""
        node, said = self._node, _said(name, shadow)
        arm = Arm(name=shadow.name, version=shadow.version, bundle=shadow.bundle, uri=shadow.uri, weight=0)
        try:
            async with self._one:
                served = await self._load(name, route, arm)
        except Exception as error:  # a broken model file can make any library raise anything
            why = str(error) if isinstance(error, PenstockError) else f"{type(error).__name__}: {str(error)[:300]}"
            node.log.event("shadow-failed", endpoint=name, shadow=shadow.name, reason=why)
            self.problems[said] = why
            self._changed()
            self._failures[key] = self._failures.get(key, 0) + 1
            asyncio.get_running_loop().call_later(pause_s(self._failures[key]), self.follow)
            return
        finally:
            del self._loading[key]
        self._loaded[key] = ServedShadow(served, node.board, node.waiting, node.clock)
        node.log.event("shadow-loaded", endpoint=name, shadow=shadow.name, version=shadow.version)
        if self.problems.pop(said, None) is not None:
            self._changed()
        self.follow()

    def _free(self, shadow: ServedShadow) -> None:
        task = asyncio.ensure_future(shadow.close())
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)


def _said(endpoint: str, shadow: Shadow) -> str:
    return f"{endpoint}/shadow {shadow.name}"
