"""The parent of a node with several event loops: keeps them and the model processes alive, and hands signals on."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec

from penstock.bundle.bundle import verify_directory
from penstock.core.clock import wall
from penstock.runtime.worker.policy import WorkerPolicy, backoff_s, failures_after
from penstock.security.tls import server_context
from penstock.serving.board import Board
from penstock.serving.listener import grpc_port, http_port, listen
from penstock.serving.log import Log
from penstock.serving.settings import NodeSettings
from penstock.serving.workers import WorkerKeeper, end_leases, leased, status_of_failure, write_status

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.05


class Supervisor:
    """Starts `settings.processes` event loops on one port; `run` returns the exit status after all have drained."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.log = Log(2, json=not sys.stderr.isatty(), clock=wall)
        self._models: tuple[ModelProcesses, ...] = ()
        self._children: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()

    async def run(self) -> int:
        """Run until a signal."""
        # Here, once: a port in use, or a wrong certificate, must stop the start, not make every child fail for ever.
        reserved = [listen(self.settings, http_port(self.settings))]
        if self.settings.grpc_port:
            reserved.append(listen(self.settings, grpc_port(self.settings)))
        if self.settings.tls is not None:
            server_context(self.settings.tls)
        settings = self.settings
        self._models = (
            ModelProcesses(settings.sockets, settings.home, settings.worker_policy(), self.log),
            ModelProcesses(settings.shadow_sockets, settings.home, settings.shadow_policy(), self.log),
        )
        for index in range(self.settings.processes):
            Board(self.settings.state, index)
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, self._signalled)
        follow = [asyncio.ensure_future(models.follow()) for models in self._models]
        keepers = [asyncio.ensure_future(self._keep(index)) for index in range(self.settings.processes)]
        await self._stop.wait()
        await asyncio.gather(*keepers)
        for task, models in zip(follow, self._models, strict=True):
            task.cancel()
            await models.close()
        for port in reserved:
            port.close()
        self.log.event("node-stopped")
        self.log.close()
        return 0

    async def _keep(self, index: int) -> None:
        """Keep event loop `index` running, waiting longer each time it ends unasked."""
        failures = 0
        policy = WorkerPolicy()
        while not self._stop.is_set():
            began = asyncio.get_running_loop().time()
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "penstock.serving", str(index),
                msgspec.json.encode(self.settings, enc_hook=str).decode(),
                stdin=asyncio.subprocess.DEVNULL, preexec_fn=_die_with_parent, start_new_session=True,
            )  # fmt: skip
            self._children[index] = child
            code = await child.wait()
            # It may have had no time to say so: it is not ready, and it needs no model.
            Board(self.settings.state, index)
            for models in self._models:
                models.loop_ended(index)
            if self._stop.is_set():
                return
            failures = failures_after(failures, asyncio.get_running_loop().time() - began)
            self.log.event("loop-ended", index=index, code=code, failures=failures)
            with_pause = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([with_pause], timeout=backoff_s(failures, policy))
            with_pause.cancel()

    def _signalled(self) -> None:
        second = self._stop.is_set()
        self._stop.set()
        for child in self._children.values():
            if child.returncode is None:
                child.send_signal(signal.SIGKILL if second else signal.SIGTERM)


class ModelProcesses:
    """Keeps up the processes that the event loops have leases for, in one folder of sockets."""

    def __init__(self, sockets: Path, home: Path, policy: WorkerPolicy, log: Log) -> None:
        self._sockets = sockets
        self._keeper = WorkerKeeper(sockets, home, policy, log.event)
        self._held: dict[str, asyncio.Task[None]] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        # What a killed predecessor told about its processes is no longer true, nor what its loops asked for.
        shutil.rmtree(sockets / "status", ignore_errors=True)
        end_leases(sockets)

    async def follow(self) -> NoReturn:
        """Look at the leases again and again."""
        while True:
            needed = leased(self._sockets)
            for digest in [digest for digest in self._held if digest not in needed]:
                task = self._held.pop(digest)
                write_status(self._sockets, digest, None)
                task.add_done_callback(partial(self._let_go, digest))
            for digest, directory in needed.items():
                if digest not in self._held:
                    self._held[digest] = asyncio.ensure_future(self._hold(digest, directory))
            await asyncio.sleep(_LOOK_S)

    def loop_ended(self, index: int) -> None:
        """Event loop `index` needs no model any more."""
        end_leases(self._sockets, index)

    async def close(self) -> None:
        """End all processes."""
        await self._keeper.close()

    async def _hold(self, digest: str, directory: Path) -> None:
        try:
            bundle = await asyncio.to_thread(verify_directory, directory, digest)
            pool = await self._keeper.hold(bundle)
        except Exception as error:  # whatever it is, the loops wait for word of it
            write_status(self._sockets, digest, status_of_failure(error))
        else:
            pool.on_change()

    def _let_go(self, digest: str, held: asyncio.Task[None]) -> None:
        task = asyncio.ensure_future(self._release(digest))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _release(self, digest: str) -> None:
        # KeyError: it never came up.
        with contextlib.suppress(KeyError):
            await self._keeper.release(digest)


def _die_with_parent() -> None:
    """In the child: be killed when the supervisor dies, so that its successor finds the port free."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:
            os._exit(1)
