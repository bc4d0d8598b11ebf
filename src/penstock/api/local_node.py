"""The local node of `penstock up`: found again if it runs, started if it does not, started again when it dies.

The node is in a session of its own. Control may be killed at any moment; the node notices only that nobody answers
its question for routes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import msgspec

from penstock.core.clock import monotonic
from penstock.core.errors import Conflict
from penstock.runtime.worker.policy import WorkerPolicy, backoff_s, failures_after
from penstock.serving.grpc.available import check_grpc
from penstock.serving.running import Running, find_running
from penstock.serving.settings import NodeSettings

_LOOK_S = 0.05
_BEYOND_DRAIN_S = 5.0


class LocalNode:
    """Keeps one node running until told to stop. `event` is told what happens."""

    def __init__(self, settings: NodeSettings, event: Callable[..., None]) -> None:
        self._settings = settings
        self._event = event
        self._child: subprocess.Popen[bytes] | None = None
        self._running = find_running(settings.state)
        self._stop = asyncio.Event()
        check_grpc(settings)
        _check_same(self._running, settings)

    @property
    def adopted(self) -> Running | None:
        """The node of an earlier `up` that was found running, if there was one."""
        return self._running if self._child is None else None

    async def keep(self) -> None:
        """Keep it running, waiting longer each time it ends unasked."""
        failures = 0
        policy = WorkerPolicy()
        if self._running is not None:
            self._event("node-adopted", pid=self._running.pid, address=self._running.address)
        while not self._stop.is_set():
            began = monotonic()
            if self._running is None:
                self._start()
            code = await self._ended()
            self._running = None
            if self._stop.is_set():
                return
            failures = failures_after(failures, monotonic() - began)
            self._event("node-ended", code=code, failures=failures)
            await self._pause(backoff_s(failures, policy))

    async def drain(self) -> None:
        """Let it finish what it owes and end; a node that takes longer than its drain time is killed."""
        self._stop.set()
        self._signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._ended(), self._settings.drain_s + _BEYOND_DRAIN_S)
        except TimeoutError:
            self._event("node-killed", pid=self._running.pid if self._running is not None else None)
            self._signal(signal.SIGKILL)
            await self._ended()

    def _start(self) -> None:
        settings = msgspec.json.encode(self._settings, enc_hook=str).decode()
        self._child = subprocess.Popen(
            [sys.executable, "-m", "penstock.serving", "node", settings],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._running = Running(
            pid=self._child.pid,
            host=self._settings.host,
            port=self._settings.port,
            tls=self._settings.tls is not None,
            grpc_port=self._settings.grpc_port,
        )
        self._event("node-started", pid=self._child.pid, address=self._running.address)

    async def _ended(self) -> int | None:
        """Its exit status, or None for an adopted one, which only its own parent is told."""
        while True:
            if self._child is not None:
                code = self._child.poll()
                if code is not None:
                    return code
            elif self._running is None or not _alive(self._running, self._settings):
                return None
            await asyncio.sleep(_LOOK_S)

    async def _pause(self, seconds: float) -> None:
        waiting = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait([waiting], timeout=seconds)
        waiting.cancel()

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                self._child.send_signal(number)
        elif self._running is not None and _alive(self._running, self._settings):
            os.kill(self._running.pid, number)


def _alive(running: Running, settings: NodeSettings) -> bool:
    # Its lock, not its number, which may be another process's by now.
    found = find_running(settings.state)
    return found is not None and found.pid == running.pid


def _check_same(running: Running | None, settings: NodeSettings) -> None:
    """Raise Conflict if a node runs that was told something else: it must not be kept silently, nor killed."""
    if running is None:
        return
    control = settings.following.control if settings.following is not None else ""
    wanted = (settings.host, settings.port, settings.grpc_port, settings.tls is not None, control)
    if (running.host, running.port, running.grpc_port, running.tls, running.control) != wanted:
        raise Conflict(
            "other-node-running",
            f"the node {settings.name!r} (process {running.pid}) runs at {running.address}"
            f" and follows {running.control or 'a file'}",
            hint=f"use the same ports as before, or stop it: kill {running.pid}",
        )
