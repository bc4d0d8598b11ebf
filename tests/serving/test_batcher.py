"""Batching: each caller gets exactly its own rows, whatever waits beside it; an idle runner never waits."""

import asyncio

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serving.batches import Doubling, Manual, batcher_of, code_of, result_of, rows, run, turns

from penstock.runtime.runner import InlineRunner, ThreadRunner

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
