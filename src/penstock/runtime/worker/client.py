"""An event loop's side of the workers: hands each batch to an idle one, without a task or a thread per call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from penstock.core.clock import monotonic
from penstock.core.errors import DeadlineExceeded, InvalidInput, PenstockError, Unavailable
from penstock.core.frames import decode_frame
from penstock.core.tensors import Tensors
from penstock.runtime.golden import Cost
from penstock.runtime.worker.wire import PROTOCOL, Fault, Messages, message, socket_path

Done = Callable[[Tensors | PenstockError], None]

_RETRY_FIRST_S, _RETRY_MOST_S = 0.02, 1.0
_OTHERS_S = 0.5
# What a round trip takes besides the model, generously: a batch that took longer has waited for another loop's.
_TRANSIT_S = 0.0005


class WorkerRunner:
    """Runs batches in the processes of a bundle, see `Runner`. `slots` counts the idle ones this loop is connected to.

    `on_change` is called whenever `slots` has grown or shrunk for another reason than this loop's own batches.
    """

    def __init__(
        self, run_directory: Path, digest: str, workers: int, *, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.slots = 0
        self.cost = Cost(0.0, 0.0, 1)
        self.on_change = on_change
        self._digest = digest
        self._loop = asyncio.get_running_loop()
        self._idle: list[_Connection] = []
        self._links = [_Link(self, socket_path(run_directory, digest, index)) for index in range(workers)]
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether any worker is connected, idle or busy; one may be busy with a batch nobody waits for any more."""
        return any(link.connected for link in self._links)

    async def connect(self, limit_s: float = 10.0) -> None:
        """Wait for one worker, and a moment for the others; raises Unavailable("no-worker") when none answers."""
        for link in self._links:
            link.connect()
        if not await self._connected(1, limit_s):
            await self.close()
            raise Unavailable("no-worker", f"no model process of {self._digest[:19]} answers on its socket")
        await self._connected(len(self._links), _OTHERS_S)

    async def _connected(self, workers: int, limit_s: float) -> bool:
        changed = asyncio.Event()
        on_change, self.on_change = self.on_change, changed.set
        try:
            async with asyncio.timeout(limit_s):
                while self.slots < workers:
                    await changed.wait()
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            self.on_change = on_change
        return True

    def start(
        self, inputs: Tensors, parameters: Mapping[str, Any] | None, deadline_s: float | None, done: Done
    ) -> None:
        """See `Runner.start`. With no idle worker the batch fails at once: nothing is queued here."""
        if not self._idle:
            done(Unavailable("no-worker", "no process of this model is free"))
            return
        # The one used last: its caches are warm. One that was busy with another loop's batch comes last (`_finish`).
        self._idle[-1].send(inputs, parameters, deadline_s, done)

    async def close(self) -> None:
        """Finish what runs, then hang up. Calling it twice does nothing."""
        self._closed = True
        for link in self._links:
            link.close()
        await asyncio.gather(*(link.gone.wait() for link in self._links))

    def _became(self, connection: _Connection, idle: bool, shared: bool = False) -> None:
        if idle:
            self._idle.insert(0 if shared else len(self._idle), connection)
        elif connection in self._idle:
            self._idle.remove(connection)
        self.slots = len(self._idle)


class _Link:
    """The way to one worker: connects, and connects again when it dies or is replaced."""

    def __init__(self, runner: WorkerRunner, path: Path) -> None:
        self.gone = asyncio.Event()
        self.gone.set()
        self.runner = runner
        self._path = str(path)
        self._loop = runner._loop
        self._retry_s = _RETRY_FIRST_S
        self._timer: asyncio.TimerHandle | None = None
        self._attempt: asyncio.Task[None] | None = None
        self._connection: _Connection | None = None

    def connect(self) -> None:
        self._attempt = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_unix_connection(lambda: _Connection(self), self._path)
        except OSError:
            # Not up yet, or being started again.
            self.again()

    def again(self) -> None:
        self._connection = None
        self.gone.set()
        if not self.runner._closed:
            self._timer = self._loop.call_later(self._retry_s, self.connect)
            self._retry_s = min(_RETRY_MOST_S, self._retry_s * 2)

    def up(self, connection: _Connection) -> None:
        self.gone.clear()
        self._connection = connection
        if self.runner._closed:
            connection.hang_up()

    @property
    def connected(self) -> bool:
        """Whether the worker has greeted on this connection and has not gone."""
        return self._connection is not None and self._connection.greeted

    def answers(self) -> None:
        self._retry_s = _RETRY_FIRST_S

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._attempt is not None and not self._attempt.done():
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.hang_up()


class _Connection(asyncio.Protocol):
    """One connection to one worker: silent until its greeting fits, then idle or busy with one batch."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._runner = link.runner
        self._messages = Messages()
        self.greeted = False
        self._closing = False
        self._busy = False
        self._call = 0
        self._sent = 0.0
        self._done: Done | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked with isinstance: uvloop's transports are none of asyncio's classes.
        self._transport = cast("asyncio.Transport", transport)
        self._link.up(self)

    def send(self, inputs: Tensors, parameters: Mapping[str, Any] | None, deadline_s: float | None, done: Done) -> None:
        self._call += 1
        self._sent = monotonic()
        meta: dict[str, Any] = {"call": self._call}
        if deadline_s is not None:
            meta["deadline"] = self._sent + deadline_s
        if parameters:
            meta["parameters"] = dict(parameters)
        try:
            data = message(inputs, meta)
        except PenstockError as error:
            done(error)
            return
        self._busy = True
        self._done = done
        self._runner._became(self, idle=False)
        if deadline_s is not None:
            self._timer = self._runner._loop.call_later(deadline_s, self._expire)
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._messages.feed(data):
                tensors, meta = decode_frame(frame)
                self._received(tensors, meta)
        except (InvalidInput, msgspec.MsgspecError):
            # Not a worker, or not in its right mind: `connection_lost` fails the batch.
            self._transport.abort()

    def _received(self, tensors: Tensors, meta: dict[str, Any]) -> None:
        if not self.greeted:
            self._greet(meta)
        elif "closing" in meta:
            self.hang_up()
        elif self._busy and meta.get("call") == self._call:
            self._busy = False
            took, ran = monotonic() - self._sent, meta.get("seconds", 0.0)
            result = msgspec.convert(meta["error"], Fault).to_error() if "error" in meta else tensors
            self._finish(result, shared=took > 2 * ran + _TRANSIT_S)

    def _greet(self, meta: dict[str, Any]) -> None:
        if meta.get("protocol") != PROTOCOL or meta.get("bundle") != self._runner._digest:
            # Another version's worker, about to be replaced.
            self._transport.abort()
            return
        self._runner.cost = msgspec.convert(meta.get("cost"), Cost)
        self.greeted = True
        self._link.answers()
        if not self._closing:
            self._runner._became(self, idle=True)
            self._runner.on_change()

    def _finish(self, result: Tensors | PenstockError, shared: bool) -> None:
        if self._closing:
            self._transport.close()
        else:
            # Loops know nothing of each other: two that preferred the same worker would leave another one idle.
            self._runner._became(self, idle=True, shared=shared)
        if not self._tell(result):
            # Its caller has gone at its deadline: nobody else would notice that there is room again.
            self._runner.on_change()

    def _tell(self, result: Tensors | PenstockError) -> bool:
        done, self._done = self._done, None
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if done is None:
            return False
        done(result)
        return True

    def _expire(self) -> None:
        # The worker stays busy until it answers; its own alarm ends it if it never does.
        self._tell(DeadlineExceeded("deadline-exceeded", "the deadline passed before the model answered"))

    def hang_up(self) -> None:
        """Close, after the answer that is still due."""
        self._closing = True
        self._runner._became(self, idle=False)
        self._runner.on_change()
        if not self._busy:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._closing = True
        was_idle = self in self._runner._idle
        self._runner._became(self, idle=False)
        self._tell(Unavailable("worker-died", "the model's process ended while it worked on this batch"))
        self._link.again()
        if was_idle or self._busy:
            self._runner.on_change()
