"""Model processes of a node: who owns them, and how an event loop gets to them.

A node with one event loop owns its model processes itself. With several loops their supervisor owns them. A loop asks
for them by a lease, a small file that says which bundle it needs for as long as it is there, and learns from another
one whether they are up; it reaches them by sockets whose names follow from the bundle's digest. So the processes of an
old version live exactly until the last loop has answered its last call to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

import msgspec

from penstock.bundle.bundle import Bundle
from penstock.core.clock import monotonic
from penstock.core.errors import PenstockError, Unavailable
from penstock.runtime.environment import python_for
from penstock.runtime.golden import Cost
from penstock.runtime.worker.client import WorkerRunner
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.runtime.worker.pool import WorkerPool
from penstock.runtime.worker.process import Log

_LOOK_AGAIN_S = 0.05


class PoolStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner of a bundle's processes tells the event loops; empty `failure` means they are up."""

    code: str = ""
    failure: str = ""
    restarts: int = 0


class WorkerKeeper:
    """Owns the processes of every bundle that somebody holds."""

    def __init__(self, run_directory: Path, home: Path, policy: WorkerPolicy, log: Log) -> None:
        self._run_directory = run_directory
        self._home = home
        self._policy = policy
        self._log = log
        self._pools: dict[str, tuple[asyncio.Task[WorkerPool], int]] = {}

    async def hold(self, bundle: Bundle) -> WorkerPool:
        """The running processes of `bundle`, started if nobody holds them yet; raises why they cannot be had."""
        task, holders = self._pools.get(bundle.digest, (None, 0))
        if task is None:
            task = asyncio.ensure_future(self._start(bundle))
        self._pools[bundle.digest] = (task, holders + 1)
        try:
            return await asyncio.shield(task)
        except BaseException:
            await self.release(bundle.digest)
            raise

    async def release(self, digest: str) -> None:
        """One holder less; the last one's leaving ends the processes after what they still work on."""
        task, holders = self._pools[digest]
        if holders > 1:
            self._pools[digest] = (task, holders - 1)
            return
        del self._pools[digest]
        if task.done() and not task.cancelled() and task.exception() is None:
            await task.result().close()

    async def close(self) -> None:
        """End all processes."""
        pools, self._pools = self._pools, {}
        for task, _ in pools.values():
            task.cancel()
        ended = await asyncio.gather(*(task for task, _ in pools.values()), return_exceptions=True)
        await asyncio.gather(*(pool.close() for pool in ended if isinstance(pool, WorkerPool)))

    async def _start(self, bundle: Bundle) -> WorkerPool:
        environment = bundle.manifest.environment
        requirements = bundle.path(environment.requirements).read_text()
        python = await asyncio.to_thread(python_for, environment, requirements, self._home)

        def changed() -> None:
            write_status(self._run_directory, bundle.digest, PoolStatus(restarts=pool.restarts))

        pool = WorkerPool(bundle, python, self._run_directory, self._policy, log=self._log, on_change=changed)
        await pool.start()
        return pool


class LeasedRunner(WorkerRunner):
    """A runner whose processes are released when it is closed; `restarts` tells how often one was started again."""

    release: Callable[[], Awaitable[None]]
    restarts: Callable[[], int]

    async def close(self) -> None:
        """See `Runner.close`."""
        await super().close()
        await self.release()


async def own_workers(
    keeper: WorkerKeeper, run_directory: Path, workers: int, bundle: Bundle
) -> tuple[WorkerRunner, Cost]:
    """A runner on processes that this very event loop owns."""
    pool = await keeper.hold(bundle)
    runner = LeasedRunner(run_directory, bundle.digest, workers)
    runner.release = lambda: keeper.release(bundle.digest)
    runner.restarts = lambda: pool.restarts
    await runner.connect()
    return runner, pool.cost


async def supervised_workers(
    run_directory: Path, policy: WorkerPolicy, bundle: Bundle, index: int
) -> tuple[WorkerRunner, Cost]:
    """A runner on processes that the supervisor owns: ask, and wait until they are up, or it says why they are not."""
    limit = monotonic() + policy.load_limit_s
    lease = _take_lease(run_directory, bundle, index)
    try:
        while (status := read_status(run_directory, bundle.digest)) is None:
            if monotonic() > limit:
                raise Unavailable("no-worker", f"the processes of {bundle.manifest.name} were not started in time")
            await asyncio.sleep(_LOOK_AGAIN_S)
        if status.failure:
            raise Unavailable(status.code, status.failure)
        runner = LeasedRunner(run_directory, bundle.digest, policy.workers)
        runner.release = lambda: asyncio.to_thread(lease.unlink, missing_ok=True)
        # All loops share the processes and add up their counts: one of them tells.
        runner.restarts = lambda: _restarts(run_directory, bundle.digest) if index == 0 else 0
        await runner.connect()
    except BaseException:
        lease.unlink(missing_ok=True)
        raise
    return runner, runner.cost


def _restarts(run_directory: Path, digest: str) -> int:
    status = read_status(run_directory, digest)
    return status.restarts if status is not None else 0


def _take_lease(run_directory: Path, bundle: Bundle, index: int) -> Path:
    """A file of this loop's own: a loop may hold one bundle for several arms."""
    directory = _leases(run_directory)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = bundle.digest.removeprefix("sha256:")
    for number in count():
        path = directory / f"{index}-{number}-{name}"
        if not path.exists():
            partial = path.with_suffix(".partial")
            partial.write_text(str(bundle.directory.resolve()))
            partial.rename(path)
            return path
    raise AssertionError  # `count` does not end


def leased(run_directory: Path) -> dict[str, Path]:
    """The bundles that event loops ask for or use: digest to folder."""
    found: dict[str, Path] = {}
    for path in _leases(run_directory).glob("*"):
        if path.suffix:
            continue
        try:
            found["sha256:" + path.name.rpartition("-")[2]] = Path(path.read_text())
        except FileNotFoundError:
            continue  # given back this moment
    return found


def end_leases(run_directory: Path, index: int | None = None) -> None:
    """Take back the leases of a loop that is gone, or of all."""
    for path in _leases(run_directory).glob("*" if index is None else f"{index}-*"):
        path.unlink(missing_ok=True)


def _leases(run_directory: Path) -> Path:
    return run_directory / "leases"


def status_of_failure(error: BaseException) -> PoolStatus:
    """What to tell the loops about processes that cannot be had."""
    if isinstance(error, PenstockError):
        return PoolStatus(code=error.code, failure=f"{error.message}; {error.hint}" if error.hint else error.message)
    return PoolStatus(code="worker-failed", failure=f"{type(error).__name__}: {str(error)[:300]}")


def write_status(run_directory: Path, digest: str, status: PoolStatus | None) -> None:
    """Tell the event loops; None takes back what was told."""
    path = _status_path(run_directory, digest)
    if status is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(status))
    partial.replace(path)


def read_status(run_directory: Path, digest: str) -> PoolStatus | None:
    """What the owner told last, or None."""
    try:
        return msgspec.json.decode(_status_path(run_directory, digest).read_bytes(), type=PoolStatus)
    except FileNotFoundError:
        return None


def _status_path(run_directory: Path, digest: str) -> Path:
    return run_directory / "status" / f"{digest.removeprefix('sha256:')}.json"
