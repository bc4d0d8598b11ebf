"""What callers changed of what the routes say, until the node stops: endpoints that they unloaded or added.

It stands in a file beside the node's other state, because every event loop of the node obeys it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.core.digest import canonical_json
from penstock.core.routes import Endpoint, RouteDocument


class Overlay(msgspec.Struct, frozen=True, kw_only=True):
    """Names of endpoints that are not to be served, and endpoints beside those of the routes."""

    unloaded: frozenset[str] = frozenset()
    added: dict[str, Endpoint] = {}

    def over(self, document: RouteDocument) -> RouteDocument:
        """The document as it is served here."""
        endpoints = {**self.added, **document.endpoints}
        kept = {name: endpoint for name, endpoint in endpoints.items() if name not in self.unloaded}
        return document if kept == document.endpoints else msgspec.structs.replace(document, endpoints=kept)


class OverlayFile:
    """The overlay of one node: read by each of its event loops, changed by whichever was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self.overlay = Overlay()

    def poll(self) -> bool:
        """Whether it changed since the last call."""
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return False
        mark = (stat.st_ino, stat.st_mtime_ns)
        if mark == self._seen:
            return False
        self._seen = mark
        before = self.overlay
        self.overlay = msgspec.json.decode(self._path.read_bytes(), type=Overlay)
        return self.overlay != before

    def change(self, edit: Callable[[Overlay], Overlay]) -> None:
        """Replace it by what `edit` makes of it; two that change it at once do so one after the other."""
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = msgspec.json.decode(self._path.read_bytes(), type=Overlay) if self._path.exists() else Overlay()
            partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
            partial.write_bytes(canonical_json(edit(found)))
            partial.replace(self._path)
