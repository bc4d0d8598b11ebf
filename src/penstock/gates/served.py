"""A bundle's model, asked by ordinary code, in a process of its own.

Whatever a candidate does here (crash, hang, take the memory), it does to that process. ONNX runs there, too, although
a node runs it inline: a graph that nobody has checked yet may loop for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from penstock.bundle.bundle import Bundle
from penstock.core.binding import Binder
from penstock.core.clock import monotonic
from penstock.core.errors import PenstockError, Unavailable
from penstock.core.tensors import Tensors
from penstock.runtime.environment import python_for
from penstock.runtime.golden import Cost
from penstock.runtime.worker.client import WorkerRunner
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.runtime.worker.pool import WorkerPool

Result = TypeVar("Result")


class ServedModel:
    """One model process and the event loop that talks to it, on a thread; started when it is first asked.

    `bind` checks a call as a node does. `home` is where environments are kept. A process that dies is started again.
    """

    def __init__(self, bundle: Bundle, home: Path, *, allow_pickle: bool = False) -> None:
        self.bundle = bundle
        self.home = home
        self.allow_pickle = allow_pickle
        self.bind = Binder(bundle.manifest.signature, text_only=bundle.manifest.text_only)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: PenstockError | None = None
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Cost:
        """Load the model and replay its golden rows, once; raises why it cannot be loaded, each time it is asked."""
        if self._failure is not None:
            raise self._failure
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="candidate", daemon=True)
            self._thread.start()
            self._folder = tempfile.TemporaryDirectory(prefix="penstock-")
            try:
                self._do(self._up())
            except PenstockError as failure:
                self._failure = failure
                raise
        return self._pool.cost

    def run(self, inputs: Tensors, limit_s: float, wait_s: float) -> Tensors:
        """The answers to inputs that were bound; raises what the model's process reports, or that it died.

        `wait_s` is for a process that is being started again, `limit_s` for the call itself.
        """
        self.start()
        result = self._do(self._ask(inputs, limit_s, wait_s))
        if isinstance(result, PenstockError):
            raise result
        return result

    def memory_bytes(self) -> int:
        """The private memory of the model's process now; 0 where the system cannot tell (only Linux can)."""
        try:
            _, resident, shared, *_ = Path(f"/proc/{self._pid}/statm").read_text().split()
        except (OSError, ValueError):
            return 0
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """End the process. Calling it twice does nothing."""
        if self._loop is None:
            return
        self._do(self._down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._folder.cleanup()
        self._loop = None

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        assert self._loop is not None  # noqa: S101 - `start` made it, and nothing else gets here
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _up(self) -> None:
        manifest, run_directory = self.bundle.manifest, Path(self._folder.name)
        python = Path(sys.executable)
        if not manifest.holds_no_code:
            requirements = self.bundle.path(manifest.environment.requirements).read_text()
            python = python_for(manifest.environment, requirements, self.home)
        policy = WorkerPolicy(allow_pickle=self.allow_pickle, drain_s=1.0)
        self._changed = asyncio.Event()
        self._runner: WorkerRunner | None = None
        self._pool = WorkerPool(self.bundle, python, run_directory, policy, log=self._log)
        await self._pool.start()
        self._runner = WorkerRunner(run_directory, self.bundle.digest, 1, on_change=self._changed.set)
        await self._runner.connect()

    def _log(self, event: str, **fields: Any) -> None:
        if event == "worker-ready":
            self._pid = fields["pid"]

    async def _ask(self, inputs: Tensors, limit_s: float, wait_s: float) -> Tensors | PenstockError:
        assert self._runner is not None  # noqa: S101 - `start` has returned
        until = monotonic() + wait_s
        # None is there while one that died is being started again.
        while not self._runner.slots:
            self._changed.clear()
            try:
                async with asyncio.timeout(until - monotonic()):
                    await self._changed.wait()
            except TimeoutError:
                return Unavailable("no-worker", f"the model's process is gone: {self._pool.reason or 'not started'}")
        answered: asyncio.Future[Tensors | PenstockError] = asyncio.get_running_loop().create_future()
        self._runner.start(inputs, None, limit_s, answered.set_result)
        return await answered

    async def _down(self) -> None:
        if getattr(self, "_runner", None) is not None:
            await self._runner.close()  # type: ignore[union-attr]
        if hasattr(self, "_pool"):
            await self._pool.close()
