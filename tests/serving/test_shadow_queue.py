"""What waits for a shadow, what is dropped, and when its turn comes; the clock is moved and batches let go by hand."""

import asyncio
import time

import numpy as np
import pytest
from tests.serving.batches import Manual, Time

from penstock.core.calls import Call
from penstock.core.routes import Arm, Recording, Shadow
from penstock.runtime.batcher import Batcher
from penstock.serving.arms import ServedArm
from penstock.serving.board import SHADOW_DROPS, Board
from penstock.serving.shadow import MOST_BYTES, ServedShadow

RULES = Shadow(name="next", version="m/2", bundle="", uri="")


class Scene:
    """A shadow with nobody in its way; `started` are the first numbers of the rows of its batches."""

    def __init__(self, folder, bundle, **rules):
        self.clock, self.runner, self.busy = Time(), Manual(), False
        batcher = Batcher(self.runner, max_rows=4, shared=True, variable=False, uses_parameters=False,
                          clock=self.clock, loop=asyncio.get_running_loop())  # fmt: skip
        self.board = Board(folder, 0)
        arm = Arm(name="next", version="m/2", bundle="", uri="", weight=0)
        self.served = ServedArm("sum", arm, bundle, batcher, None, self.board, shadow=True)
        self.shadow = ServedShadow(self.served, self.board, lambda: self.busy, self.clock)
        changed = {"sample": RULES.sample, "max_pending_calls": 256, "budget": 0.25, **rules}
        self.shadow.follow(Shadow(name="next", version="m/2", bundle="", uri="", **changed), 5.0, 4, Recording())

    def offer(self, *numbers, size=100):
        for number in numbers:
            call = Call({"x": np.full((1, 4), number, np.float32)}, 1)
            self.shadow.offer(f"id-{number}", 0.0, "", 0, call, self.served.signature, size)

    @property
    def started(self):
        return [inputs["x"][:, 0].tolist() for inputs, *_ in self.runner.held]

    @property
    def dropped(self):
        return self.board.cells[self.served.series + SHADOW_DROPS]

    def done(self):
        rows = len(self.runner.held[0][0]["x"])
        self.runner.finish({"predictions": np.zeros(rows, np.float32)})


@pytest.fixture
def scene(tmp_path, summing_1):
    return lambda **rules: Scene(tmp_path / "board", summing_1, **rules)


async def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.001)


async def turns():
    """Long enough for several turns of a shadow that would take them."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        passed = loop.create_future()
        loop.call_later(0.003, passed.set_result, None)
        await passed


def test_while_calls_wait_the_shadow_does_and_the_oldest_copies_go(scene):
    async def main():
        it = scene(max_pending_calls=3)
        it.busy = True
        it.offer(1, 2, 3, 4, 5)
        await turns()
        assert it.started == []
        assert it.dropped == 2
        it.busy = False
        await until(lambda: it.started)
        assert it.started == [[3, 4, 5]]

    asyncio.run(main())


def test_a_slice_is_a_batch_and_the_next_one_waits_for_it(scene):
    async def main():
        it = scene()
        it.offer(1, 2, 3, 4, 5, 6)
        await until(lambda: it.started)
        it.offer(7)
        await turns()
        assert it.started == [[1, 2, 3, 4]]
        it.done()
        await until(lambda: it.started)
        assert it.started == [[5, 6, 7]]
        assert it.dropped == 0

    asyncio.run(main())


def test_a_shadow_takes_its_share_of_time_and_no_more(scene):
    async def main():
        it = scene(budget=0.25)
        it.offer(*range(8))
        await until(lambda: it.started)
        it.clock.now += 1.0
        it.done()
        # It had 20 ms to spare and a quarter of the second: three quarters, less that, are owed.
        it.clock.now += 3.7 * (1.0 - 0.02 - 0.25)
        await turns()
        assert it.started == []
        it.clock.now += 0.6
        await until(lambda: it.started)

    asyncio.run(main())


def test_copies_take_bounded_memory(scene):
    async def main():
        it = scene()
        it.busy = True
        it.offer(1, 2, 3, size=MOST_BYTES // 2)
        assert it.dropped == 1
        it.offer(4, size=MOST_BYTES + 1)
        assert it.dropped == 4
        await it.shadow.close()

    asyncio.run(main())


def test_one_that_is_closed_takes_nothing_and_counts_what_it_drops(scene):
    async def main():
        it = scene()
        it.busy = True
        it.offer(1, 2)
        await it.shadow.close()
        it.offer(3)
        assert it.dropped == 2
        assert it.runner.model.closed

    asyncio.run(main())
