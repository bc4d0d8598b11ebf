"""Batching: each caller gets exactly its own rows, whatever waits beside it, fails beside it or came too late."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.errors import ModelFailed, PenstockError, Unavailable
from penstock.runtime.batcher import Batcher
from penstock.runtime.runner import InlineRunner, ThreadRunner, run_checked


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


def rows(*values):
    return {"x": np.array(values, np.int64).reshape(-1, 1)}


def code_of(result):
    assert isinstance(result, PenstockError), result
    return result.code


VALUES = st.lists(st.integers(0, 20), min_size=1, max_size=5)
PARAMETERS = st.sampled_from([None, {"factor": 3}, {"factor": 3.0}])
CALLS = st.lists(st.tuples(VALUES, PARAMETERS, st.integers(0, 3)), min_size=1, max_size=25)


@settings(deadline=None, max_examples=60)
@given(calls=CALLS, kind=st.sampled_from(["inline", "threads"]), shared=st.booleans(), max_rows=st.integers(1, 8))
def test_each_caller_gets_exactly_its_own(calls, kind, shared, max_rows):
    async def main():
        model = Doubling()
        runner = InlineRunner(model) if kind == "inline" else ThreadRunner(model, 2, asyncio.get_running_loop())
        batcher = batcher_of(runner, shared=shared, max_rows=max_rows)
        ends = batcher._clock() + 60

        async def caller(values, parameters, wait):
            await turns(wait)
            return await result_of(batcher.submit(rows(*values), len(values), parameters, ends))

        got = await asyncio.gather(*(caller(*call) for call in calls))
        for (values, parameters, _), result in zip(calls, got, strict=True):
            if 13 in values:
                assert code_of(result) == "model-failed"
                assert "thirteen" in result.message
            else:
                factor = (parameters or {}).get("factor", 2)
                assert result["y"].ravel().tolist() == [value * factor for value in values]
                assert result["y"].dtype == (np.float64 if isinstance(factor, float) else np.int64)
                assert result["label"].tolist() == [f"row {value}" for value in values]
        assert (batcher.waiting_rows, batcher.running_rows) == (0, 0)
        if not shared:
            assert sorted(model.batches) == sorted(len(values) for values, _, _ in calls)
        largest = max(len(values) for values, _, _ in calls)
        assert max(model.batches) <= max(max_rows, largest)
        await batcher.close()
        assert model.closed == 1

    asyncio.run(main())


def run(body):
    asyncio.run(asyncio.wait_for(body(), 30))


def test_an_idle_runner_is_never_kept_waiting_and_a_busy_one_collects():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        first = batcher.submit(rows(1), 1, None, 1e9)
        await turns()
        assert [len(held[0]["x"]) for held in runner.held] == [1]
        others = [batcher.submit(rows(n, n), 2, None, 1e9) for n in range(5)]
        await turns()
        assert len(runner.held) == 1
        assert (batcher.waiting_rows, batcher.running_rows) == (10, 1)
        runner.finish()
        await turns()
        assert first.result["y"].tolist() == [[2]]
        # Rows are counted, not calls: 8 of the 10.
        assert [len(held[0]["x"]) for held in runner.held] == [8]
        assert (batcher.waiting_rows, batcher.running_rows) == (2, 8)
        runner.finish()
        await turns()
        runner.finish()
        assert [call.result["y"].ravel().tolist() for call in others] == [[n * 2, n * 2] for n in range(5)]

    run(main)


def test_a_call_larger_than_a_batch_runs_alone_and_whole():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner, max_rows=4)
        runner.slots = 0
        calls = [batcher.submit(rows(*range(size)), size, None, 1e9) for size in (1, 9, 2)]
        runner.slots = 1
        batcher.wake()
        sizes = []
        for _ in range(3):
            await turns()
            sizes.append(len(runner.held[0][0]["x"]))
            runner.finish()
        assert sizes == [1, 9, 2]
        assert [len(call.result["y"]) for call in calls] == [1, 9, 2]

    run(main)


def test_calls_that_differ_in_what_could_change_an_answer_never_share_a_run():
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner, variable=True)
        wide = {"x": np.ones((1, 3), np.int64)}
        calls = [
            batcher.submit(inputs, 1, parameters, 1e9)
            for inputs, parameters in (
                (rows(1), None), (wide, None), (rows(2), None), (rows(3), {"a": 1}), (rows(4), {"a": True}),
                (rows(5), {"a": 1.0}), (rows(6), {"a": "1"}), (rows(7), {"a": 1}), (rows(8), {"a": 1, "b": 2}),
            )
        ]  # fmt: skip
        runner.slots = 1
        batcher.wake()
        ran = []
        while any(call.result is None for call in calls):
            await turns()
            inputs, parameters, _, _ = runner.held[0]
            ran.append((inputs["x"].ravel().tolist(), parameters))
            runner.finish()
        assert ran == [
            ([1, 2], None), ([1, 1, 1], None), ([3, 7], {"a": 1}), ([4], {"a": True}), ([5], {"a": 1.0}),
            ([6], {"a": "1"}), ([8], {"a": 1, "b": 2}),
        ]  # fmt: skip

    run(main)


def test_a_model_without_parameters_shares_runs_whatever_they_are():
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner, uses_parameters=False)
        for number in range(3):
            batcher.submit(rows(number), 1, {"any": number}, 1e9)
        runner.slots = 1
        batcher.wake()
        await turns()
        assert [(len(held[0]["x"]), held[1]) for held in runner.held] == [(3, None)]
        runner.finish()

    run(main)


def test_one_bad_call_fails_alone():
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner)
        calls = [batcher.submit(rows(n), 1, None, 1e9) for n in (1, 13, 2, 3)]
        runner.slots = 1
        batcher.wake()
        await turns()
        assert len(runner.held[0][0]["x"]) == 4
        later = batcher.submit(rows(4), 1, None, 1e9)
        runner.finish()
        while later.result is None:
            await turns()
            runner.finish()
        assert [None if isinstance(c.result, PenstockError) else c.result["y"].item() for c in calls] == [2, None, 4, 6]
        assert code_of(calls[1].result) == "model-failed"
        # The four retries came before the later call.
        assert runner.model.batches == [4, 1, 1, 1, 1, 1]
        assert later.result["y"].item() == 8

    run(main)


@pytest.mark.parametrize("wrong", [lambda n: np.ones(n + 1), lambda n: np.ones(n - 1), lambda n: np.array(1.0)])
def test_a_batch_with_the_wrong_number_of_rows_mixes_up_nobody(wrong):
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner)
        calls = [batcher.submit(rows(n), 1, None, 1e9) for n in range(3)]
        runner.slots = 1
        batcher.wake()
        await turns()
        runner.finish({"y": wrong(3)})
        for _ in range(3):
            await turns()
            runner.finish()
        # Each was run again alone, and answered right.
        assert [call.result["y"].item() for call in calls] == [0, 2, 4]
        assert runner.model.batches == [1, 1, 1]
        assert (batcher.waiting_rows, batcher.running_rows) == (0, 0)

    run(main)


def test_a_failure_that_is_not_the_models_is_not_tried_again():
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner)
        calls = [batcher.submit(rows(n), 1, None, 1e9) for n in range(3)]
        runner.slots = 1
        batcher.wake()
        await turns()
        runner.finish(Unavailable("worker-died", "gone"))
        await turns()
        assert [code_of(call.result) for call in calls] == ["worker-died"] * 3
        assert not runner.held
        # The next one is answered.
        again = batcher.submit(rows(5), 1, None, 1e9)
        await turns()
        runner.finish()
        assert again.result["y"].item() == 10

    run(main)


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


def test_closing_fails_what_waits_and_finishes_what_runs():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        running = batcher.submit(rows(1), 1, None, 1e9)
        await turns()
        waiting = batcher.submit(rows(2), 1, None, 1e9)
        await batcher.close()
        assert code_of(waiting.result) == "version-closed"
        assert code_of(batcher.submit(rows(3), 1, None, 1e9).result) == "version-closed"
        runner.finish()
        assert running.result["y"].item() == 2

    run(main)


def test_calls_that_cannot_be_joined_are_answered_all_the_same():
    async def main():
        runner = Manual(slots=0)
        batcher = batcher_of(runner)
        # Nothing should ever bring such calls together; if something does, nobody may wait for ever.
        calls = [batcher.submit(rows(1), 1, None, 1e9), batcher.submit({"x": np.ones((1, 2))}, 1, None, 1e9)]
        runner.slots = 1
        batcher.wake()
        for _ in calls:
            await turns()
            runner.finish()
        assert [call.result["y"].ravel().tolist() for call in calls] == [[2], [2.0, 2.0]]

    run(main)


class Raising:
    def __init__(self, error):
        self.error = error

    def run(self, inputs, parameters=None):
        raise self.error

    def close(self):
        pass


@pytest.mark.parametrize(
    "error", [ValueError("x" * 1000), KeyError("k"), MemoryError(), ModelFailed("model-failed", "m")]
)
@pytest.mark.parametrize("kind", ["inline", "threads"])
def test_whatever_a_model_raises_becomes_its_callers_error(error, kind):
    async def main():
        loop = asyncio.get_running_loop()
        model = Raising(error)
        batcher = batcher_of(InlineRunner(model) if kind == "inline" else ThreadRunner(model, 1, loop))
        result = await result_of(batcher.submit(rows(1), 1, None, 1e9))
        assert code_of(result) == "model-failed"
        assert len(str(result)) < 500
        await batcher.close()

    run(main)
