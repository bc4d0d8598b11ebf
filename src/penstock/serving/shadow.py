"""One shadow on one event loop: it takes copies of calls that were answered, runs them when there is time, and records.

Whatever a shadow does must cost the primary nothing. So a copy is taken when the reply is made and holds the decoded
inputs; what waits is bounded, and the oldest is dropped; a slice of copies runs only while no call waits for any arm of
this loop, and only as far as the shadow's share of time goes. What runs on the loop runs in slices that take as long as
a few calls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import msgspec

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.clock import Clock
from penstock.core.errors import PenstockError
from penstock.core.routes import TOTAL_WEIGHT, Recording, Shadow
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.predlog.stream import sampled
from penstock.protocols.problems import status_of
from penstock.runtime.batcher import Pending
from penstock.runtime.runner import InlineRunner
from penstock.serving.arms import ServedArm
from penstock.serving.board import SHADOW_DROPS, Board

REASON = "shadow"
# Bodies of copies that wait, which stand for the arrays behind them.
MOST_BYTES = 16 * 2**20
# Long enough for copies to share a run, short enough that few are dropped from the default queue at 100 000 calls/s.
PAUSE_S = 0.002
# A slice on the loop: nobody who comes meanwhile waits longer. A call costs about as much beside the model as in it.
SLICE_S = 0.0001
SLICE_CALLS = 8
# What an idle shadow may save up, so that quiet hours do not pay for a burst.
_MOST_CREDIT_S = 0.02
_SPACE = 2**64


class _Copy(msgspec.Struct, gc=False, eq=False):
    request_id: str
    arrived: float
    subject: str
    unit: int
    call: Call
    signature: Signature
    size: int


class ServedShadow:
    """A loaded version that answers nobody. `busy` says whether a call waits for any arm of this loop."""

    def __init__(self, served: ServedArm, board: Board, busy: Callable[[], bool], clock: Clock) -> None:
        self.served = served
        self._board = board
        self._busy = busy
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._bind = Binder(served.signature, text_only=served.bundle.manifest.text_only)
        self._inline = isinstance(served.batcher.runner, InlineRunner)
        self._waiting: deque[_Copy] = deque()
        self._waiting_bytes = 0
        self._scheduled = self._closed = False
        self._running = 0
        self._began = 0.0
        self._row_s = 0.0
        self._credit_s = _MOST_CREDIT_S
        self._credited_at = clock()
        served.batcher.observe = self._observe

    def follow(self, shadow: Shadow, deadline_s: float, max_rows: int, recording: Recording) -> None:
        """Take copies by these rules from now on."""
        self._below = None if shadow.sample >= TOTAL_WEIGHT else shadow.sample * _SPACE // TOTAL_WEIGHT
        self._most_calls = shadow.max_pending_calls
        self._budget = shadow.budget
        self._deadline_s = deadline_s
        self._max_rows = max_rows
        if self.served.records is not None:
            self.served.records.follow(recording)

    def offer(
        self, request_id: str, arrived: float, subject: str, unit: int, call: Call, signature: Signature, size: int
    ) -> None:
        """Take a copy of a call that was bound to `signature`, if it is in the sample. `size` is its body's bytes."""
        if self._closed or (self._below is not None and not sampled(request_id, self._below)):
            return
        waiting = self._waiting
        waiting.append(_Copy(request_id, arrived, subject, unit, call, signature, size))
        self._waiting_bytes += size
        while len(waiting) > self._most_calls or self._waiting_bytes > MOST_BYTES:
            self._waiting_bytes -= waiting.popleft().size
            self._board.cells[self.served.series + SHADOW_DROPS] += 1
        if not self._scheduled and not self._running:
            self._later(PAUSE_S)

    def _later(self, pause_s: float) -> None:
        self._scheduled = True
        if pause_s:
            self._loop.call_later(pause_s, self._turn)
        else:
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Run a slice if nobody is in the way, else look again later."""
        self._scheduled = False
        if self._closed or not self._waiting:
            return
        now = self._clock()
        self._credit_s = min(_MOST_CREDIT_S, self._credit_s + (now - self._credited_at) * self._budget)
        self._credited_at = now
        batcher = self.served.batcher
        if self._credit_s <= 0 or batcher.runner.slots <= 0 or self._busy():
            self._later(PAUSE_S)
            return
        self._began = now
        copies = self._slice()
        # All of them are counted before the first can be done.
        self._running = len(copies)
        for copy in copies:
            self._start(copy)

    def _slice(self) -> list[_Copy]:
        """The oldest copies, as many as may run at once; at least one, or a large one would wait for ever."""
        most_rows, most_calls = float(self._max_rows), len(self._waiting)
        if self._inline:
            most_rows = min(most_rows, self.served.batcher.cost.rows_within(SLICE_S))
            most_calls = min(most_calls, SLICE_CALLS)
        copies: list[_Copy] = []
        rows = 0
        while len(copies) < most_calls and (not copies or rows + self._waiting[0].call.rows <= most_rows):
            copy = self._waiting.popleft()
            self._waiting_bytes -= copy.size
            rows += copy.call.rows
            copies.append(copy)
        return copies

    def _start(self, copy: _Copy) -> None:
        try:
            if copy.signature.inputs != self.served.signature.inputs:
                inputs, rows = self._bind(dict(copy.call.inputs))
                copy.call = Call(inputs, rows, parameters=copy.call.parameters)
        except PenstockError as error:
            self._done(copy, error)
            return
        call = copy.call
        pending = self.served.batcher.submit(call.inputs, call.rows, call.parameters, self._began + self._deadline_s)
        pending.add_done_callback(partial(self._finished, copy))
        if pending.result is not None:
            # Closed meanwhile: it was finished before anybody listened.
            self._finished(copy, pending)

    def _finished(self, copy: _Copy, pending: Pending) -> None:
        result = pending.result
        self._done(copy, result if result is not None else {})

    def _done(self, copy: _Copy, result: Tensors | PenstockError) -> None:
        """Count and record one copy; the last of a slice pays for it."""
        now, call, served = self._clock(), copy.call, self.served
        status, code, outputs, seconds = 200, "", None, self._row_s * call.rows
        if isinstance(result, PenstockError):
            status, code, seconds = status_of(result), result.code, now - self._began
        else:
            outputs = result
        self._board.record(served.series, status, seconds, call.rows)
        if served.records is not None:
            served.records.add(
                copy.request_id, copy.arrived, seconds, status, code, REASON, copy.subject, copy.unit, call.rows,
                call, outputs, copy.size,
            )  # fmt: skip
        self._running -= 1
        if not self._running:
            self._credit_s -= self._clock() - self._began
            if self._waiting and not self._scheduled:
                # In the loop's next turn: whoever has come meanwhile is seen first.
                self._later(0)

    def _observe(self, calls: int, rows: int, seconds: float) -> None:
        # Before its calls are told: each one's latency is its share of the run.
        self._row_s = seconds / rows
        self._board.record_batch(self.served.series, rows, seconds)

    async def close(self) -> None:
        """Drop what waits, finish what runs, and free the model."""
        self._closed = True
        self._board.cells[self.served.series + SHADOW_DROPS] += len(self._waiting)
        self._waiting.clear()
        await self.served.retire(0)
        self._board.retire(self.served.labels)
