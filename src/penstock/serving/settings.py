"""What a node is told when it starts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.serving.http.connection import HttpLimits


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One node. `home` holds bundles, environments and the last good routes.

    `processes` are event loops that share the port; `workers` are model processes of each version, `threads` run an
    inline model that is too slow for the event loop.
    """

    routes: Path
    home: Path
    name: str = "local"
    host: str = "127.0.0.1"
    port: int = 8080
    processes: int = 1
    workers: int = 1
    threads: int = 1
    drain_s: float = 30
    settle_s: float = 0
    http: HttpLimits = HttpLimits()

    @property
    def state(self) -> Path:
        """The node's own folder: counters, sockets of model processes, the last good routes."""
        return self.home / "nodes" / self.name

    @property
    def bundles(self) -> Path:
        """Where bundles are kept by digest."""
        return self.home / "bundles"
