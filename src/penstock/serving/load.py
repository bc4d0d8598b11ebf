"""From one arm of a route document to a loaded arm: open, verify, load, replay, measure."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
import numpy as np

from penstock.bundle.bundle import Bundle
from penstock.core.clock import monotonic
from penstock.core.errors import Refused
from penstock.core.routes import Arm, Endpoint
from penstock.core.tensors import Tensors
from penstock.predlog.recorder import Recorder
from penstock.runtime import golden
from penstock.runtime.batcher import Batcher
from penstock.runtime.golden import Cost
from penstock.runtime.load import load_model
from penstock.runtime.model import Model
from penstock.runtime.runner import InlineRunner, Runner, ThreadRunner
from penstock.runtime.worker.client import WorkerRunner
from penstock.serving.arms import ServedArm
from penstock.serving.board import LOAD_US, READY, Board
from penstock.serving.cache import AnswerCache
from penstock.serving.fetch import fetch_bundle
from penstock.serving.settings import SHADOW_NICE, NodeSettings

INLINE_MAX_S = 0.001
# A run and the comparison of its answers take a fifth of this.
_PAUSE_S = 0.002

Result = TypeVar("Result")

StartWorkers = Callable[[Bundle], Awaitable[tuple[WorkerRunner, Cost]]]


async def load_arm(
    name: str, route: Endpoint, arm: Arm, settings: NodeSettings, board: Board, recorder: Recorder | None,
    start_workers: StartWorkers, *, shadow: bool = False,
) -> ServedArm:  # fmt: skip
    """Load `arm` beside whatever is served now; raises what is wrong with it, and then nothing has changed.

    A `shadow` keeps no answers and has one thread that gives way.
    """
    began = monotonic()
    loop = asyncio.get_running_loop()
    bundle = await _in_background(lambda: fetch_bundle(arm, settings.bundles))
    manifest = bundle.manifest
    if shadow:
        route = msgspec.structs.replace(route, cache=None)
    if route.cache is not None and not manifest.golden.deterministic:
        raise Refused(
            "cache-refused", f"endpoint {name!r}: {arm.version} is not deterministic, its answers must not be cached"
        )
    runner: Runner
    if runs_inline(bundle, route.isolation):
        pause = _let_answer if board.cells[READY] else _go_on
        model, cost, batch_s = await _in_background(
            lambda: _load_and_measure(bundle, route.limits.max_batch_rows, pause)
        )
        threads, nice = (1, SHADOW_NICE) if shadow else (settings.threads, 0)
        runner = InlineRunner(model) if batch_s < INLINE_MAX_S else ThreadRunner(model, threads, loop, nice)
    else:
        runner, cost = await start_workers(bundle)
    batcher = Batcher(
        runner,
        max_rows=route.limits.max_batch_rows,
        shared=manifest.batching.allowed,
        variable=any(-1 in field.shape[1:] for field in manifest.signature.inputs),
        uses_parameters=manifest.takes_parameters,
        clock=monotonic,
        loop=loop,
    )
    batcher.cost.observe(1, cost.single_s)
    if manifest.batching.allowed:
        batcher.cost.observe(cost.rows, cost.batch_s)
    if isinstance(runner, WorkerRunner):
        runner.on_change = batcher.wake
    cache = AnswerCache(route.cache, monotonic) if route.cache is not None else None
    records = recorder.stream(name, arm, manifest.signature, route.recording) if recorder is not None else None
    served = ServedArm(name, arm, bundle, batcher, cache, board, records, shadow=shadow)
    batcher.observe = lambda calls, rows, seconds: board.record_batch(served.series, rows, seconds)
    board.cells[served.series + LOAD_US] = int((monotonic() - began) * 1e6)
    return served


def runs_inline(bundle: Bundle, isolation: str) -> bool:
    """Whether the served form runs in the node's own process.

    `auto` trusts ONNX with built-in operators only: it holds no code of the user's. Python must be asked for.
    """
    served = bundle.manifest.served
    if served.serialization in ("pickle", "joblib") and isolation == "inline":
        raise Refused(
            "pickle-inline", f"{bundle.manifest.name} is a pickle: it runs in a process of its own, never inline"
        )
    return isolation == "inline" or (isolation == "auto" and bundle.manifest.holds_no_code)


def _load_and_measure(bundle: Bundle, max_rows: int, pause: Callable[[], None]) -> tuple[Model, Cost, float]:
    """The model, proven by its golden rows, what they cost, and the seconds of a full batch."""
    model = load_model(bundle)
    try:
        cost = golden.replay(model, bundle, pause=pause)
        if not bundle.manifest.batching.allowed:
            return model, cost, cost.single_s
        inputs = _repeat(golden.sample_inputs(bundle), max_rows)
        return model, cost, min(_seconds(model, inputs, pause) for _ in range(5))
    except BaseException:
        model.close()
        raise


def _let_answer() -> None:
    """Give the core back between two runs: it and the interpreter's lock belong to those who wait for an answer."""
    time.sleep(_PAUSE_S)


def _go_on() -> None:
    """Nothing is served yet, so nobody waits."""


def _seconds(model: Model, inputs: Tensors, pause: Callable[[], None]) -> float:
    pause()
    began = monotonic()
    model.run(inputs)
    return monotonic() - began


def _repeat(inputs: Tensors, rows: int) -> Tensors:
    return {name: np.concatenate([array] * (rows // len(array) + 1))[:rows] for name, array in inputs.items()}


async def _in_background(work: Callable[[], Result]) -> Result:
    """Run `work` on a thread of its own.

    Not with low priority: it holds the interpreter's lock now and then, and on a busy machine everybody who waits for
    that lock would have its priority.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def target() -> None:
        try:
            result = work()
        except BaseException as error:  # raised again where the load is awaited; here it would only end the thread
            loop.call_soon_threadsafe(_settle, future, None, error)
        else:
            loop.call_soon_threadsafe(_settle, future, result, None)

    threading.Thread(target=target, name="load", daemon=True).start()
    return await future


def _settle(future: asyncio.Future[Result], result: Result | None, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type]
