"""Loading and unloading by callers, where the node was started with `--model-control`.

A node that follows control serves what control says: there `penstock apply` loads and unloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from penstock.bundle.bundle import open_bundle
from penstock.bundle.find import bundle_in
from penstock.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Refused, Unavailable
from penstock.core.names import check_name
from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint
from penstock.serving.access import Caller
from penstock.serving.applied import Applied
from penstock.serving.overlay import Overlay, OverlayFile

LIMIT_S = 300.0
_LOOK_S = 0.02


class Repository:
    """What callers may load and unload on this node.

    `routed` tells the endpoints of the routes, `take` makes this event loop obey the overlay, `applied` tells what each
    event loop serves, None until all of them have told. Archives are extracted into `bundles`.
    """

    def __init__(
        self,
        overlay: OverlayFile,
        *,
        refusal: str,
        routed: Callable[[], dict[str, Endpoint]],
        take: Callable[[], Awaitable[None]],
        applied: Callable[[], list[Applied] | None],
        bundles: Path,
    ) -> None:
        self._overlay = overlay
        self._refusal = refusal
        self._routed = routed
        self._take = take
        self._applied = applied
        self._bundles = bundles

    def known(self) -> dict[str, Endpoint]:
        """Every endpoint that could be served, loaded or not."""
        return {**self._overlay.overlay.added, **self._routed()}

    def unloaded(self, name: str) -> bool:
        """Whether it was unloaded by a caller."""
        return name in self._overlay.overlay.unloaded

    def check(self, caller: Caller | None) -> None:
        """Raise Refused, Conflict or Forbidden where this caller may load nothing here."""
        if self._refusal == "control":
            raise Conflict(
                "routes-from-control", "this node serves what control says", hint="change it by penstock apply"
            )
        if self._refusal:
            raise Refused(
                "model-control-off",
                "this node loads and unloads nothing for callers",
                hint="start it with --model-control",
            )
        if caller is not None and not caller.overrides:
            raise Forbidden("model-control-forbidden", "the key may not load or unload models")

    async def load(self, name: str) -> None:
        """Serve an endpoint again, and return once every event loop does; raises what keeps it from being loaded."""
        if name not in self.known():
            raise NotFound("unknown-endpoint", f"there is no endpoint {name[:80]!r} to load")
        await self._change(lambda found: msgspec.structs.replace(found, unloaded=found.unloaded - {name}), name)

    async def unload(self, name: str) -> None:
        """Serve an endpoint no more; calls that are with it are answered."""
        if name not in self.known():
            raise NotFound("unknown-endpoint", f"there is no endpoint {name[:80]!r} to unload")
        await self._change(lambda found: msgspec.structs.replace(found, unloaded=found.unloaded | {name}))

    async def add(self, name: str, endpoint: Endpoint) -> None:
        """Serve an endpoint that the routes do not have, until the node stops."""
        check_name(name, "endpoint")
        if name in self.known():
            raise Conflict("endpoint-exists", f"there is an endpoint {name!r} already")
        try:
            await self._change(
                lambda found: msgspec.structs.replace(found, added={**found.added, name: endpoint}), name
            )
        except InvalidInput:
            await self.remove(name)
            raise

    async def add_bundle(self, name: str, folder: Path) -> None:
        """Serve the bundle that is in `folder`; raises NotFound where there is none."""
        bundle = await asyncio.to_thread(lambda: open_bundle(bundle_in(folder), self._bundles))
        arm = Arm(
            name="main", version=bundle.version, bundle=bundle.digest, uri=str(bundle.directory), weight=TOTAL_WEIGHT
        )
        await self.add(name, Endpoint(arms=(arm,)))

    async def remove(self, name: str) -> None:
        """Take away an endpoint that was added."""
        if name not in self._overlay.overlay.added:
            raise NotFound("unknown-endpoint", f"no endpoint {name[:80]!r} was added here")
        await self._change(
            lambda found: msgspec.structs.replace(
                found, added={key: value for key, value in found.added.items() if key != name},
                unloaded=found.unloaded - {name},
            )
        )  # fmt: skip

    async def _change(self, edit: Callable[[Overlay], Overlay], wanted: str = "") -> None:
        self._overlay.change(edit)
        await self._take()
        applied = await self._settled()
        problem = next((one.problems[wanted] for one in applied if wanted in one.problems), "")
        if problem:
            raise InvalidInput("load-failed", f"{wanted} cannot be loaded: {problem}")

    async def _settled(self) -> list[Applied]:
        """What each event loop serves, once all of them serve the same."""
        loop = asyncio.get_running_loop()
        until = loop.time() + LIMIT_S
        while loop.time() < until:
            found = self._applied()
            if found is not None and len({(one.generation, one.digest) for one in found}) == 1:
                return found
            await asyncio.sleep(_LOOK_S)
        raise Unavailable("load-unfinished", f"not every event loop of the node has done it after {LIMIT_S:g} s")
