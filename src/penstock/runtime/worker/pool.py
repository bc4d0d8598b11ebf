"""Keeps the model processes of one bundle alive: starts them, starts them again, replaces those that grow."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from penstock.bundle.bundle import Bundle
from penstock.core.clock import Clock, monotonic
from penstock.core.errors import PenstockError, Unavailable
from penstock.runtime.golden import Cost
from penstock.runtime.worker.policy import WorkerPolicy, backoff_s, failures_after
from penstock.runtime.worker.process import Log, WorkerProcess, described_exit
from penstock.runtime.worker.wire import Order, socket_path

_CODE = "code"
_PACKAGE = Path(__file__).resolve().parents[2]


class WorkerPool:
    """The processes of one bundle, in one process of the node; event loops reach them by socket, see `WorkerRunner`.

    `restarts` counts processes that ended unasked, `recycled` those replaced for their memory, `alive` those that
    answer now, `reason` says why the last one ended or could not start. `on_change` is called after each change.
    One pool for a bundle and run directory at a time: a second one takes over its sockets.
    """

    def __init__(
        self,
        bundle: Bundle,
        python: Path,
        run_directory: Path,
        policy: WorkerPolicy,
        *,
        log: Log,
        clock: Clock = monotonic,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.restarts = 0
        self.recycled = 0
        self.reason = ""
        self.on_change = on_change
        self._bundle = bundle
        self._python = python
        self._run_directory = run_directory
        self._policy = policy
        self._log = log
        self._clock = clock
        self._processes: dict[int, WorkerProcess] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._sockets: dict[Path, int] = {}

    @property
    def alive(self) -> int:
        """How many processes answer now."""
        return len(self._processes)

    @property
    def cost(self) -> Cost:
        """What the golden rows cost in the process that came up last."""
        return next(reversed(self._processes.values())).cost if self._processes else Cost(0.0, 0.0, 1)

    async def start(self) -> Cost:
        """Start every process and wait until all are ready; on failure stop them all and raise the real reason."""
        self._prepare()
        failure: BaseException | None = None
        try:
            # The first alone: a model that cannot load is not loaded N times at once to find out.
            self._processes[0] = await self._spawn(0)
            others = range(1, self._policy.workers)
            for index, got in enumerate(await asyncio.gather(*map(self._spawn, others), return_exceptions=True), 1):
                if isinstance(got, BaseException):
                    failure = failure or got
                else:
                    self._processes[index] = got
            if failure is not None:
                raise failure
        except BaseException:
            await self.close()
            raise
        self._tasks = [asyncio.create_task(self._keep(index)) for index in range(self._policy.workers)]
        return self.cost

    async def close(self) -> None:
        """Drain the processes, end those that do not finish, remove the sockets. Calling it twice does nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        limit = self._policy.drain_s + self._policy.grace_s
        await asyncio.gather(*(process.stop(limit) for process in self._processes.values()), *self._retiring)
        self._processes.clear()
        for path, inode in self._sockets.items():
            # Another pool may have taken the name over since.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_ino == inode:
                    path.unlink()
        self._sockets.clear()

    def _prepare(self) -> None:
        self._run_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        # It may be there already, with other rights.
        self._run_directory.chmod(0o700)
        # The worker's Python may be another one: it gets this package and nothing else of ours.
        code = self._run_directory / _CODE
        code.mkdir(exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=code)) / _PACKAGE.name
        scratch.symlink_to(_PACKAGE, target_is_directory=True)
        scratch.rename(code / _PACKAGE.name)
        scratch.parent.rmdir()

    async def _spawn(self, index: int) -> WorkerProcess:
        path, policy = socket_path(self._run_directory, self._bundle.digest, index), self._policy
        order = Order(
            bundle=str(self._bundle.directory.resolve()), digest=self._bundle.digest, socket=str(path), status_fd=-1,
            parent_pid=-1, allow_pickle=policy.allow_pickle, call_limit_s=policy.call_limit_s, grace_s=policy.grace_s,
            drain_s=policy.drain_s, memory_bytes=policy.memory_bytes, nice=policy.nice,
        )  # fmt: skip
        began = self._clock()
        process = await WorkerProcess.start(self._python, order, self._environment(), index, self._log)
        try:
            await process.ready(policy.load_limit_s)
            used = process.memory_bytes()
            if policy.memory_bytes and used > policy.memory_bytes:
                # Served all the same it would be replaced for ever.
                raise Unavailable(
                    "worker-memory",
                    f"the loaded model takes {used >> 20} MiB, {policy.memory_bytes >> 20} are allowed",
                )
        except BaseException:
            process.kill()
            await process.wait()
            raise
        self._sockets[path] = path.stat().st_ino
        self._log("worker-ready", worker=index, pid=process.pid, seconds=round(self._clock() - began, 3))
        return process

    def _environment(self) -> dict[str, str]:
        """Nothing of the node's own environment: it may hold keys that are not a model's business."""
        threads = str(self._policy.threads)
        home = str(self._run_directory)
        names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM")
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": home,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self._run_directory / _CODE),
            "PYTHONUNBUFFERED": "1",
            # Also for a model that loads ONNX Runtime by itself.
            "ORT_DISABLE_TELEMETRY": "1",
            # Each arena keeps what was freed in it; a worker has one busy thread.
            "MALLOC_ARENA_MAX": "2",
            **{f"{name}_NUM_THREADS": threads for name in names},
        }

    async def _keep(self, index: int) -> None:
        """Start process `index` again whenever it ends unasked, waiting longer each time; replace it when it grows."""
        failures = 0
        while True:
            process, began = self._processes[index], self._clock()
            code = await self._ended_or_grew(process)
            if code is None:
                failures = 0 if await self._recycle(index, process, failures + 1) else failures + 1
                continue
            del self._processes[index]
            self.restarts += 1
            self.reason = described_exit(code)
            self._log("worker-ended", worker=index, pid=process.pid, reason=self.reason)
            self.on_change()
            failures = await self._start_again(index, failures_after(failures, self._clock() - began))
            self.on_change()

    async def _ended_or_grew(self, process: WorkerProcess) -> int | None:
        """The exit code, or None once the process takes more memory than it may."""
        limit = self._policy.memory_bytes
        while True:
            try:
                async with asyncio.timeout(self._policy.memory_check_s if limit else None):
                    return await process.wait()
            except TimeoutError:
                if process.memory_bytes() > limit:
                    return None

    async def _start_again(self, index: int, failures: int) -> int:
        while True:
            await asyncio.sleep(backoff_s(failures, self._policy))
            try:
                self._processes[index] = await self._spawn(index)
            except Exception as error:  # whatever it is: if this task ended, nobody would start the model again
                failures += 1
                self._not_ready(index, error, failures)
            else:
                return failures

    def _not_ready(self, index: int, error: Exception, failures: int) -> None:
        self.reason = str(error) if isinstance(error, PenstockError) else f"{type(error).__name__}: {error}"
        self._log("worker-not-ready", worker=index, reason=self.reason, failures=failures)

    async def _recycle(self, index: int, process: WorkerProcess, attempt: int) -> bool:
        """Put a fresh process in the place of one that has grown; it takes over the socket before that one drains."""
        used = process.memory_bytes()
        try:
            self._processes[index] = await self._spawn(index)
        except Exception as error:  # the old process goes on; this task must, too
            self._not_ready(index, error, attempt)
            # Not again at once: loading takes the processor from those that answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff_s(attempt, self._policy)):
                    await process.wait()
            return False
        self.recycled += 1
        self._log("worker-recycled", worker=index, pid=process.pid, memory_bytes=used)
        retiring = asyncio.create_task(process.stop(self._policy.drain_s + self._policy.grace_s))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
        self.on_change()
        return True
