"""Work-conserving batching: an idle runner takes whatever waits at once, and nobody ever waits for a batch to fill.

Rows are counted, not calls. Calls share a run only if everything that could change an answer is equal: non-batch shapes
and parameters (dtypes are already the signature's). A batch that fails is run again call by call, so that one bad call
cannot fail its neighbours. Every call's deadline holds, also while it waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from math import inf
from typing import Any

import msgspec
import numpy as np

from penstock.core.clock import Clock
from penstock.core.errors import DeadlineExceeded, ModelFailed, PenstockError, Unavailable
from penstock.core.tensors import Tensors
from penstock.runtime.cost import CostCurve
from penstock.runtime.runner import Runner


class Pending(msgspec.Struct, gc=False, eq=False):
    """One call that waits for its outputs; `await` it. `deadline` is in the clock's seconds.

    It is a future without an event loop: it costs a fifth of asyncio's, and this is the path of every request.
    """

    inputs: Tensors
    rows: int
    parameters: Mapping[str, Any] | None
    deadline: float
    key: object = None
    result: Tensors | PenstockError | None = None
    _callback: Callable[[Pending], None] | None = None

    def add_done_callback(self, callback: Callable[[Pending], None]) -> None:
        """Call `callback` once, when the result is there."""
        self._callback = callback

    def finish(self, result: Tensors | PenstockError) -> None:
        """Set the result; a second one (an answer after the deadline) is dropped."""
        if self.result is not None:
            return
        self.result = result
        # A batch keeps its calls until its last one is answered: what this one held can go now.
        self.inputs = {}
        callback = self._callback
        if callback is not None:
            self._callback = None
            callback(self)

    def __await__(self) -> Generator[Pending, None, Tensors]:
        if self.result is None:
            yield self
        if isinstance(self.result, PenstockError):
            raise self.result
        assert self.result is not None, "resumed before it was finished"  # noqa: S101 - a driver's bug, not a caller's
        return self.result


class Batcher:
    """Collects calls for one runner and hands it batches.

    `waiting_rows` and `running_rows` are what admission estimates the wait from, with `cost`, the measured curve;
    `observe` is told (calls, rows, seconds) after each batch.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        max_rows: int,
        shared: bool,
        variable: bool,
        uses_parameters: bool,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        observe: Callable[[int, int, float], None] = lambda calls, rows, seconds: None,
    ) -> None:
        self.runner = runner
        self.waiting_rows = 0
        self.running_rows = 0
        self.cost = CostCurve()
        self._max_rows = max_rows
        self._shared = shared
        self._variable = variable
        self._uses_parameters = uses_parameters
        self._clock = clock
        self._loop = loop
        self.observe = observe
        self._waiting: deque[Pending] = deque()
        self._scheduled = False
        self._running: list[list[Pending]] = []
        self._starting = False
        self._queues = False
        self._closed = False

    def submit(self, inputs: Tensors, rows: int, parameters: Mapping[str, Any] | None, deadline: float) -> Pending:
        """Queue one call. `deadline` is in the clock's seconds."""
        pending = Pending(inputs, rows, parameters if self._uses_parameters else None, deadline)
        if self._closed:
            pending.finish(Unavailable("version-closed", "this version is no longer served"))
            return pending
        if self._variable or pending.parameters:
            pending.key = self._key(pending)
        self._waiting.append(pending)
        self.waiting_rows += rows
        if not self._scheduled:
            # At the end of this turn of the loop: every request that has already arrived gets into the batch.
            self._scheduled = True
            self._loop.call_soon(self._dispatch)
        return pending

    def wake(self) -> None:
        """Look again: the runner has room (a process came up)."""
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._dispatch)

    def estimated_wait_s(self, elsewhere_rows: int = 0) -> tuple[float, float]:
        """How long a call that came now would wait for its turn, and for its answer.

        Behind it wait what waits and runs here and `elsewhere_rows` of other queues for the same processes.
        """
        ahead = self.waiting_rows + self.running_rows + elsewhere_rows
        batch = self._max_rows if self._shared else 1
        lanes = max(1, self.runner.slots + len(self._running))
        return self.cost.queue_s(ahead, batch) / lanes, self.cost.queue_s(ahead + 1, batch) / lanes

    def expire(self) -> None:
        """Answer the calls whose deadline has passed, wherever they are; a batch in a runner goes on without them."""
        now = self._clock()
        for calls in (self._waiting, *self._running):
            for call in calls:
                if call.deadline <= now and call.result is None:
                    call.finish(DeadlineExceeded("deadline-exceeded", "the deadline passed before the model answered"))

    def _key(self, pending: Pending) -> object:
        shapes = tuple(array.shape[1:] for array in pending.inputs.values()) if self._variable else ()
        parameters = pending.parameters
        return shapes, repr(sorted(parameters.items())) if parameters else ""

    def _dispatch(self) -> None:
        self._scheduled = False
        while self._waiting and self.runner.slots > 0:
            batch = self._take()
            if batch:
                self._start(batch)

    def _take(self) -> list[Pending]:
        """The next batch: the oldest call and those behind it that may share its run, without what expired."""
        waiting, now = self._waiting, self._clock()
        batch: list[Pending] = []
        rows, most, earliest = 0, float(self._max_rows), inf
        passed_over: list[Pending] = []
        while waiting:
            call = waiting[0]
            if call.deadline <= now or call.result is not None:
                self.waiting_rows -= waiting.popleft().rows
                call.finish(DeadlineExceeded("deadline-exceeded", "the deadline passed while the call waited its turn"))
                continue
            if self._queues and call.deadline < earliest:
                # Rows beyond these would make somebody who is in the batch late.
                earliest = call.deadline
                most = min(most, self.cost.rows_within(earliest - now))
            if batch and (not self._shared or rows + call.rows > most):
                break
            waiting.popleft()
            if batch and call.key != batch[0].key:
                passed_over.append(call)
                continue
            batch.append(call)
            rows += call.rows
        if passed_over:
            # Calls of another kind keep their place at the front.
            waiting.extendleft(reversed(passed_over))
        self.waiting_rows -= rows
        return batch

    def _start(self, batch: list[Pending]) -> None:
        first = batch[0]
        if len(batch) == 1:
            rows, inputs, deadline = first.rows, first.inputs, first.deadline
        else:
            try:
                rows, inputs = sum([call.rows for call in batch]), _join(batch)
            except (ValueError, MemoryError) as error:
                # They are in no queue now: without this nobody would ever answer them.
                self._failed(batch, ModelFailed("model-failed", f"the calls could not be joined: {error}"))
                return
            deadline = max([call.deadline for call in batch])
        self.running_rows += rows
        self._running.append(batch)
        began = self._clock()
        self._starting = True
        self.runner.start(inputs, first.parameters, deadline - began, partial(self._done, batch, rows, began))
        self._starting = False

    def _done(self, batch: list[Pending], rows: int, began: float, result: Tensors | PenstockError) -> None:
        took = self._clock() - began
        self.running_rows -= rows
        self._running.remove(batch)
        if len(batch) > 1 and not isinstance(result, PenstockError):
            result = _counted(rows, result)
        if isinstance(result, PenstockError):
            self._failed(batch, result)
        else:
            if not self._starting:
                # A batch that was over before anybody could queue behind it says nothing about waiting.
                self._queues = True
                self.cost.observe(rows, took)
            self.observe(len(batch), rows, took)
            if len(batch) == 1:
                batch[0].finish(result)
            else:
                _split(batch, result)
        if self._waiting:
            self.wake()

    def _failed(self, batch: list[Pending], error: PenstockError) -> None:
        if len(batch) == 1 or error.kind not in ("model-failed", "invalid"):
            for call in batch:
                call.finish(error)
            return
        # One call's row may have failed all of them: each is run alone, once, before anybody new.
        for call in reversed(batch):
            call.key = object()
            self._waiting.appendleft(call)
            self.waiting_rows += call.rows

    async def close(self) -> None:
        """Refuse new calls, fail those that still wait, and close the runner."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().finish(Unavailable("version-closed", "this version is no longer served"))
        self.waiting_rows = 0
        await self.runner.close()


def _join(batch: list[Pending]) -> Tensors:
    return {name: np.concatenate([call.inputs[name] for call in batch]) for name in batch[0].inputs}


def _counted(rows: int, outputs: Tensors) -> Tensors | ModelFailed:
    """The outputs if they have one row for each row of the batch: cut wrongly, they would be other callers' rows."""
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != rows:
            return ModelFailed("wrong-row-count", f"output {name!r} has shape {list(array.shape)} for {rows} rows")
    return outputs


def _split(batch: list[Pending], outputs: Tensors) -> None:
    """Give each call its own part of the outputs."""
    at = 0
    pairs = list(outputs.items())
    for call in batch:
        end = at + call.rows
        call.finish({name: array[at:end] for name, array in pairs})
        at = end
