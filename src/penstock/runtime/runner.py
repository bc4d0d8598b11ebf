"""How batches are run: in the event loop, on threads, or (in `worker/`) in other processes. One port for all three."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from penstock.core.errors import ModelFailed, PenstockError
from penstock.core.tensors import Tensors
from penstock.runtime.model import Model

Parameters = Mapping[str, Any] | None
Done = Callable[[Tensors | PenstockError], None]


class Runner(Protocol):
    """Runs batches. `slots` is how many it would take now; it may change while batches run and as processes die."""

    slots: int

    @property
    def alive(self) -> bool:
        """Whether anything is there to run batches; False while every process is being started again."""
        ...

    def start(self, inputs: Tensors, parameters: Parameters, deadline_s: float | None, done: Done) -> None:
        """Begin one batch. `done` is called exactly once, on the event loop, with the outputs or the failure."""
        ...

    async def close(self) -> None:
        """Finish what runs, then free the model. Calling it twice does nothing."""
        ...


def run_checked(model: Model, inputs: Tensors, parameters: Parameters) -> Tensors | PenstockError:
    """Run a model and turn whatever it raises into a value."""
    try:
        return model.run(inputs, parameters)
    except PenstockError as error:
        return error
    except Exception as error:  # a model's own code may raise anything; its caller gets the reason, not the trace
        return ModelFailed("model-failed", f"the model raised {type(error).__name__}: {str(error)[:300]}")


def _give_way(nice: int) -> None:
    if nice and sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


class InlineRunner:
    """Runs a batch at once on the event loop: for models whose full batch takes less than a millisecond."""

    slots = 1
    alive = True

    def __init__(self, model: Model) -> None:
        self._model = model

    def start(self, inputs: Tensors, parameters: Parameters, deadline_s: float | None, done: Done) -> None:
        """See `Runner.start`; the batch is over when this returns."""
        done(run_checked(self._model, inputs, parameters))

    async def close(self) -> None:
        """See `Runner.close`."""
        self._model.close()


class ThreadRunner:
    """Runs batches on a few threads: for slower models that release the interpreter's lock, as ONNX Runtime does.

    `nice` lowers the priority of the threads, where the system has priorities of threads (Linux).
    """

    alive = True

    def __init__(self, model: Model, threads: int, loop: asyncio.AbstractEventLoop, nice: int = 0) -> None:
        self.slots = threads
        self._model = model
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, "model", _give_way, (nice,))

    def start(self, inputs: Tensors, parameters: Parameters, deadline_s: float | None, done: Done) -> None:
        """See `Runner.start`."""
        self.slots -= 1
        self._pool.submit(self._work, inputs, parameters, done)

    def _work(self, inputs: Tensors, parameters: Parameters, done: Done) -> None:
        result = run_checked(self._model, inputs, parameters)
        self._loop.call_soon_threadsafe(self._finish, result, done)

    def _finish(self, result: Tensors | PenstockError, done: Done) -> None:
        self.slots += 1
        done(result)

    async def close(self) -> None:
        """See `Runner.close`."""
        await asyncio.to_thread(self._pool.shutdown)
        self._model.close()
