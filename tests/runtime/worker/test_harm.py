"""A model that crashes, hangs, leaks or leaves harms its own batch and nobody else."""

import asyncio
import os
import time

import numpy as np
import pytest
from tests.runtime.conftest import ROWS

from penstock.core.errors import DeadlineExceeded, ModelFailed, Unavailable

SUMS = ROWS.sum(axis=1).astype(np.float64)


@pytest.fixture
def with_workers(run, served):
    def serve(bundle, body, **policy):
        async def session():
            async with served(bundle, **policy) as it:
                await body(it)

        run(session)

    return serve


@pytest.mark.parametrize("harm", ["exit", "raise", "interrupt", "too much"])
def test_what_a_model_raises_fails_its_batch_only(with_workers, hostile, harm):
    async def body(it):
        pid = (await it.call(parameters={"harm": "pid"}))["predictions"][0]
        error = await it.call(parameters={"harm": harm})
        assert isinstance(error, ModelFailed) and error.code == "model-failed"
        assert (await it.call(parameters={"harm": "pid"}))["predictions"][0] == pid
        assert it.pool.restarts == 0

    with_workers(hostile, body)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("hard exit", "exit code 7"),
        ("kill", "killed by SIGKILL"),
        ("orphan", "exit code 0"),
    ],
)
def test_a_dead_process_is_replaced_while_the_other_answers(with_workers, hostile, lines, harm, reason):
    async def body(it):
        harmed = it.call(parameters={"harm": harm})
        for _ in range(20):
            np.testing.assert_array_equal((await it.call())["predictions"], SUMS)
        error = await harmed
        assert isinstance(error, Unavailable) and error.code == "worker-died"
        await it.until(lambda: it.pool.alive == 2 and it.runner.slots == 2)
        assert it.pool.restarts == 1 and it.pool.reason == reason
        if harm == "orphan":
            # What the model started has gone with it.
            said = await it.until(lambda: next((line["text"] for line in lines if "text" in line), None))
            await gone(said)
        both = await asyncio.gather(it.call(), it.call())
        np.testing.assert_array_equal([answer["predictions"] for answer in both], [SUMS, SUMS])

    with_workers(hostile, body, workers=2)


@pytest.mark.parametrize("harm", ["spin", "hold the lock"])
def test_a_hung_process_is_ended_after_its_deadline(with_workers, hostile, lines, harm):
    async def body(it):
        began = time.monotonic()
        hung = it.call(parameters={"harm": harm}, deadline_s=0.3)
        np.testing.assert_array_equal((await it.call())["predictions"], SUMS)
        error = await hung
        assert isinstance(error, DeadlineExceeded)
        assert time.monotonic() - began > 0.25
        await it.until(lambda: it.runner.slots == 2)
        assert it.pool.restarts == 1 and "deadline" in it.pool.reason
        # Its stack is in the log, so that somebody can find out where it hung.
        assert any("model.py" in line.get("text", "") for line in lines)

    with_workers(hostile, body, workers=2)


def test_a_hung_process_that_does_not_hear_the_alarm_is_ended_as_well(with_workers, hostile, lines):
    async def body(it):
        hung = await it.call(parameters={"harm": "deaf"}, deadline_s=0.3)
        assert isinstance(hung, DeadlineExceeded)
        await it.until(lambda: it.pool.restarts == 1 and it.runner.slots == 1)
        np.testing.assert_array_equal((await it.call())["predictions"], SUMS)
        assert any("past its deadline" in line.get("text", "") for line in lines)

    with_workers(hostile, body)


def test_a_call_without_a_deadline_has_the_pools_limit(with_workers, hostile):
    async def body(it):
        error = await it.call(parameters={"harm": "spin"}, deadline_s=None)
        assert isinstance(error, Unavailable) and error.code == "worker-died"

    with_workers(hostile, body, call_limit_s=0.2)


def test_a_late_answer_frees_its_worker_and_reaches_nobody(with_workers, hostile, tmp_path):
    async def body(it):
        error = await it.call(parameters={"harm": "wait", "until": str(tmp_path / "go")}, deadline_s=0.1)
        assert isinstance(error, DeadlineExceeded) and it.runner.slots == 0
        (tmp_path / "go").touch()
        await it.until(lambda: it.runner.slots == 1)
        np.testing.assert_array_equal((await it.call())["predictions"], SUMS)
        assert it.pool.restarts == 0

    with_workers(hostile, body, grace_s=60.0)


def test_a_leaking_process_is_replaced_before_it_is_ended(with_workers, hostile):
    async def body(it):
        first, leaked = (await it.call(parameters={"harm": "pid"}))["predictions"][0], 0
        while it.pool.recycled == 0:
            # Past the limit but not to twice as much, where allocations would fail inside the model.
            leaked += 1
            answer = await it.call(parameters={"harm": "leak"} if leaked < 10 else None)
            # Never a lost call: the old process answers until its clients have hung up.
            np.testing.assert_array_equal(answer["predictions"], SUMS)
            await it.until(lambda: it.runner.slots == 1)
        await it.until(lambda: it.runner.slots == 1)
        await gone(first)
        # The way to the old process was the idle one until that hung up.
        await it.until(lambda: it.runner.slots == 1)
        assert (await it.call(parameters={"harm": "pid"}))["predictions"][0] != first
        assert it.pool.restarts == 0

    with_workers(hostile, body, memory_bytes=1 << 29, memory_check_s=0.02)


def test_a_model_that_is_too_large_when_loaded_is_refused(with_workers, hostile):
    async def body(it):
        raise AssertionError("it started")

    with pytest.raises(Unavailable, match="worker-memory"):
        with_workers(hostile, body, memory_bytes=8 << 20)


def test_backoff_grows_while_a_process_keeps_dying(with_workers, hostile, lines):
    async def body(it):
        for restarts in (1, 2, 3):
            await it.call(parameters={"harm": "hard exit"})
            await it.until(lambda restarts=restarts: it.pool.restarts == restarts and it.runner.slots == 1)
        assert it.pool.alive == 1

    with_workers(hostile, body)


async def gone(pid):
    while True:
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)
