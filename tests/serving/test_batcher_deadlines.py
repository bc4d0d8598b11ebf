"""Time in the batcher: deadlines hold while a call waits and while it runs, and the wait is estimated."""

import pytest
from tests.serving.batches import Manual, Time, batcher_of, code_of, rows, run, turns


def test_deadlines_hold_while_waiting_and_while_running():
    async def main():
        clock, runner = Time(), Manual()
        batcher = batcher_of(runner, clock)
        running = [batcher.submit(rows(1), 1, None, clock.now + 5), batcher.submit(rows(2), 1, None, clock.now + 20)]
        await turns()
        waiting = [batcher.submit(rows(3), 1, None, clock.now + 5), batcher.submit(rows(4), 1, None, clock.now + 20)]
        # The batch may take as long as its last caller waits.
        assert runner.held[0][2] == 20
        clock.now += 5
        batcher.expire()
        assert [code_of(call.result) for call in (running[0], waiting[0])] == ["deadline-exceeded"] * 2
        assert running[1].result is None
        runner.finish()
        await turns()
        assert running[1].result["y"].item() == 4
        # An answer after the deadline changes nothing.
        assert code_of(running[0].result) == "deadline-exceeded"
        # What expired does not run.
        assert [held[0]["x"].tolist() for held in runner.held] == [[[4]]]
        runner.finish()
        assert waiting[1].result["y"].item() == 8
        assert (batcher.waiting_rows, batcher.running_rows) == (0, 0)

    run(main)


def test_what_expired_unseen_is_dropped_before_it_runs():
    async def main():
        clock, runner = Time(), Manual(slots=0)
        batcher = batcher_of(runner, clock)
        late, fine = batcher.submit(rows(1), 1, None, clock.now + 1), batcher.submit(rows(2), 1, None, clock.now + 9)
        clock.now += 2
        runner.slots = 1
        batcher.wake()
        await turns()
        assert code_of(late.result) == "deadline-exceeded"
        assert [held[0]["x"].tolist() for held in runner.held] == [[[2]]]
        runner.finish()
        assert fine.result["y"].item() == 4

    run(main)


def test_the_estimated_wait_counts_rows_ahead_and_the_measured_cost():
    async def main():
        clock, runner = Time(), Manual()
        batcher = batcher_of(runner, clock)
        batcher.submit(rows(1, 2), 2, None, 1e9)
        await turns()
        clock.now += 0.2
        runner.finish()
        assert batcher.cost.batch_s(1) == pytest.approx(0.1)
        assert batcher.estimated_wait_s()[0] == 0
        batcher.submit(rows(1, 2), 2, None, 1e9)
        await turns()
        batcher.submit(rows(1, 2, 3), 3, None, 1e9)
        assert batcher.estimated_wait_s() == pytest.approx((0.5, 0.6))
        assert batcher.estimated_wait_s(5)[0] == pytest.approx(1.0)

    run(main)
