"""A batch that fails: only the call that is to blame gets an error, the others get their answers."""

import asyncio

import numpy as np
import pytest
from tests.serving.batches import Manual, batcher_of, code_of, result_of, rows, run, together, turns

from penstock.core.errors import InvalidInput, ModelFailed, PenstockError, Unavailable
from penstock.runtime.runner import InlineRunner, ThreadRunner


def test_one_bad_call_fails_alone():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        calls = await together(runner, batcher, rows(1), rows(13), rows(2), rows(3))
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
        runner = Manual()
        batcher = batcher_of(runner)
        calls = await together(runner, batcher, rows(0), rows(1), rows(2))
        runner.finish({"y": wrong(3)})
        for _ in range(3):
            await turns()
            runner.finish()
        # Each was run again alone, and answered right.
        assert [call.result["y"].item() for call in calls] == [0, 2, 4]
        assert runner.model.batches == [1, 1, 1]
        assert (batcher.waiting_rows, batcher.running_rows) == (0, 0)

    run(main)


def test_what_one_caller_sent_is_no_other_s_fault():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        calls = await together(runner, batcher, rows(1), rows(2), rows(3))
        runner.finish(InvalidInput("invalid-image", "this is no picture"))
        await turns()
        runner.finish(InvalidInput("invalid-image", "this is no picture"))
        for _ in range(2):
            await turns()
            runner.finish()
        assert code_of(calls[0].result) == "invalid-image"
        assert [call.result["y"].item() for call in calls[1:]] == [4, 6]

    run(main)


def test_a_failure_that_is_not_the_models_is_not_tried_again():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        calls = await together(runner, batcher, rows(0), rows(1), rows(2))
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


def test_calls_that_cannot_be_joined_are_answered_all_the_same():
    async def main():
        runner = Manual()
        batcher = batcher_of(runner)
        # Nothing should ever bring such calls together; if something does, nobody may wait for ever.
        calls = await together(runner, batcher, rows(1), {"x": np.ones((1, 2))})
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
