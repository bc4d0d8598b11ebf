"""Models, runners and a clock for the tests of batching; the tests let each batch go themselves."""

import asyncio

import numpy as np

from penstock.core.errors import PenstockError
from penstock.runtime.batcher import Batcher
from penstock.runtime.runner import run_checked


class Doubling:
    """Gives back each row doubled, times a parameter; refuses a batch that holds the number 13."""

    def __init__(self):
        self.batches = []
        self.closed = 0

    def run(self, inputs, parameters=None):
        x = inputs["x"]
        self.batches.append(len(x))
        if (x == 13).any():
            raise ValueError("thirteen")
        factor = (parameters or {}).get("factor", 2)
        return {"y": x * factor, "label": np.array([f"row {row[0]}" for row in x.reshape(len(x), -1)], object)}

    def close(self):
        self.closed += 1


class Manual:
    """A runner that keeps its batches until the test lets one go."""

    alive = True

    def __init__(self, slots=1):
        self.slots = slots
        self.held = []
        self.model = Doubling()

    def start(self, inputs, parameters, deadline_s, done):
        self.slots -= 1
        self.held.append((inputs, parameters, deadline_s, done))

    def finish(self, result=None):
        inputs, parameters, _, done = self.held.pop(0)
        self.slots += 1
        done(run_checked(self.model, inputs, parameters) if result is None else result)

    async def close(self):
        self.model.close()


class Time:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def batcher_of(runner, clock=None, **rules):
    loop = asyncio.get_running_loop()
    rules = {"max_rows": 8, "shared": True, "variable": False, "uses_parameters": True, **rules}
    return Batcher(runner, clock=clock or loop.time, loop=loop, **rules)


async def result_of(pending):
    """What a caller that awaits the call gets; the loop's own futures wake it."""
    woken = asyncio.get_running_loop().create_future()
    if pending.result is None:
        pending.add_done_callback(lambda _: woken.set_result(None))
        await asyncio.wait_for(woken, 20)
    return pending.result


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def together(runner, batcher, *inputs):
    """Calls that wait until the runner has room, and then start as one batch."""
    runner.slots = 0
    calls = [batcher.submit(one, len(one["x"]), None, 1e9) for one in inputs]
    runner.slots = 1
    batcher.wake()
    await turns()
    return calls


def rows(*values):
    return {"x": np.array(values, np.int64).reshape(-1, 1)}


def code_of(result):
    assert isinstance(result, PenstockError), result
    return result.code


def run(body):
    asyncio.run(asyncio.wait_for(body(), 30))
