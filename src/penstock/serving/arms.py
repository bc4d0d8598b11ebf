"""What a node serves: loaded arms, and the endpoints that divide their traffic among them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from penstock.bundle.bundle import Bundle
from penstock.core.calls import Call
from penstock.core.choice import Asked, Chooser
from penstock.core.errors import Forbidden, Overloaded, Unavailable
from penstock.core.routes import Arm, Endpoint
from penstock.core.tensors import Tensors
from penstock.predlog.stream import Stream
from penstock.protocols.form import Codec, Form, ModelView
from penstock.protocols.unit import unit_reader
from penstock.runtime.batcher import Batcher, Pending
from penstock.serving.access import Caller
from penstock.serving.board import CACHE_HITS, CACHE_MISSES, Board, Labels
from penstock.serving.cache import AnswerCache, cache_key
from penstock.serving.http.message import Request

if TYPE_CHECKING:
    from penstock.serving.shadow import ServedShadow

Chosen = tuple["ServedArm", str, int, int]
_OVERRIDE = b"penstock-arm"

# An estimate that is a little too low, with a queue filled up to the deadline, makes everybody in it late.
_MARGIN = 1.1


class ServedArm:
    """One loaded version. `in_flight` is the reference count that lets a swap free it without losing a call."""

    def __init__(
        self, endpoint: str, arm: Arm, bundle: Bundle, batcher: Batcher, cache: AnswerCache | None, board: Board,
        records: Stream | None = None, *, shadow: bool = False,
    ) -> None:  # fmt: skip
        manifest = bundle.manifest
        self.arm = arm
        self.endpoint = endpoint
        self.bundle = bundle
        self.signature = manifest.signature
        self.batcher = batcher
        self.cache = cache
        self.records = records
        self.labels = Labels(endpoint, arm.name, arm.version, shadow)
        self.series = board.series(self.labels)
        self.in_flight = 0
        self.elsewhere_rows = 0
        # By the name of the form; made when a contract is first spoken, for most are never.
        self.codecs: dict[str, Codec] = {}
        self._view = ModelView(endpoint, arm.version.rpartition("/")[2], self.signature, manifest.text_only)
        self._board = board
        self._idle: asyncio.Event | None = None
        # By reason; made when one is first given, because the names of rules may be new in the next routes.
        self._heads: dict[str, bytes] = {}

    def rename(self, arm: Arm) -> None:
        """Go on under the name that the routes have now, with nothing loaded again."""
        self._board.retire(self.labels)
        self.arm = arm
        self.labels = Labels(self.endpoint, arm.name, arm.version, self.labels.shadow)
        self.series = self._board.series(self.labels)
        self._heads = {}
        if self.records is not None:
            self.records.rename(arm)

    def head(self, reason: str, bucket: int) -> bytes:
        """The reply headers that tell which version answered, and why that one; `bucket` is -1 if none decided."""
        head = self._heads.get(reason)
        if head is None:
            arm = self.arm
            said = f"penstock-version: {arm.version}\r\npenstock-arm: {arm.name}\r\npenstock-reason: {reason}\r\n"
            self._heads[reason] = head = said.encode()
        return head if bucket < 0 else head + b"penstock-bucket: %d\r\n" % bucket

    def codec(self, form: Form) -> Codec:
        """What reads and writes calls in that form."""
        codec = self.codecs.get(form.name)
        if codec is None:
            codec = self.codecs[form.name] = form.codec(self._view)
        return codec

    def outputs(self, call: Call, deadline: float) -> Awaitable[Tensors]:
        """Cache, batch, runtime: await it for the outputs of one call."""
        if self.cache is None:
            return self.batcher.submit(call.inputs, call.rows, call.parameters, deadline)
        return self._kept_outputs(self.cache, call, deadline)

    async def _kept_outputs(self, cache: AnswerCache, call: Call, deadline: float) -> Tensors:
        def run() -> Pending:
            return self.batcher.submit(call.inputs, call.rows, call.parameters, deadline)

        outputs, kept = await cache.answer(cache_key(call), call, deadline, run)
        self._board.cells[self.series + (CACHE_HITS if kept else CACHE_MISSES)] += 1
        return outputs

    def release(self) -> None:
        """One call is answered."""
        self.in_flight -= 1
        if self._idle is not None and not self.in_flight:
            self._idle.set()

    def expire(self) -> None:
        """Answer what is past its deadline."""
        self.batcher.expire()
        if self.cache is not None:
            self.cache.expire()

    async def retire(self, patience_s: float) -> None:
        """Wait until its last call is answered (no route leads here any more), then free the model."""
        self._idle = asyncio.Event()
        if self.in_flight:
            # Every call has a deadline, so only a model that hangs outlasts this: its calls fail, the node goes on.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience_s)
        await self.batcher.close()
        if self.records is not None:
            self.records.close()


class ServedEndpoint:
    """A stable address, its loaded arms in the document's order, and its limits."""

    def __init__(self, name: str, route: Endpoint, arms: tuple[ServedArm, ...]) -> None:
        self.name = name
        self.route = route
        self.arms = arms
        # As they come to be loaded; see `Shadows`.
        self.shadows: tuple[ServedShadow, ...] = ()
        self.deadline_s = route.limits.deadline_ms / 1e3
        self.max_wait_s = route.limits.max_wait_ms / 1e3
        self._chooser = Chooser(name, route)
        self._read_unit = unit_reader(route.unit, [arm.signature for arm in arms]) if route.unit is not None else None
        # Nearly every endpoint: one arm, and nothing else that could decide.
        plain = len(arms) == 1 and route.unit is None and not route.rules
        self._only: Chosen | None = (arms[0], "only-arm", 0, -1) if plain else None

    def choose(
        self, request: Request, version: str | None, form: Form, caller: Caller | None, draw: Callable[[], float]
    ) -> Chosen:
        """The arm for a call, the reason, the unit's digest, and its bucket where that decided, else -1; see `Chooser`.

        Raises NotFound (`unknown-version`, `unknown-arm`), Forbidden (`override-forbidden`).
        """
        headers = request.headers
        wanted = headers.get(_OVERRIDE)
        if self._only is not None and version is None and wanted is None:
            return self._only
        if wanted is not None and caller is not None and not caller.overrides:
            raise Forbidden("override-forbidden", "the key may not choose the arm", hint="leave penstock-arm out")
        unit = "" if self._read_unit is None else self._read_unit(headers, request.body, form)
        asked = Asked(version, wanted, headers, unit, "" if caller is None else caller.subject)
        choice = self._chooser.choose(asked, draw)
        return self.arms[choice.index], choice.reason, choice.digest, choice.bucket


def admit(arm: ServedArm, endpoint: ServedEndpoint, deadline: float, now: float) -> None:
    """Refuse a call that could not be answered in time, before any work is spent on it.

    The bound is time, not length: rows ahead, in every process of the node, times the measured cost of a row.
    """
    batcher = arm.batcher
    if not batcher.running_rows and batcher.runner.slots:
        return
    # Without a slot and without a batch of ours, a process may still be busy with one that nobody waits for any more.
    if not batcher.runner.alive:
        raise Unavailable("no-worker", f"no process of {arm.endpoint} is alive; it is being started again")
    wait_s, answer_s = batcher.estimated_wait_s(arm.elsewhere_rows)
    if wait_s > endpoint.max_wait_s or answer_s * _MARGIN > deadline - now:
        raise Overloaded(
            "overloaded",
            f"{arm.endpoint} would answer in about {answer_s:.2f} s, later than this call may wait",
            retry_after_s=max(1, math.ceil(wait_s)),
        )
