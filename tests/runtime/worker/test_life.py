"""Workers are started, called, drained, and say why when they cannot be."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import joblib
import msgspec
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.runtime.conftest import HOSTILE, LABELS, ROWS, make_bundle, python_bundle

from penstock.bundle.manifest import Artifact
from penstock.core.errors import DeadlineExceeded, PenstockError, Unavailable
from penstock.runtime.worker.client import WorkerRunner
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.runtime.worker.pool import WorkerPool
from penstock.runtime.worker.wire import PROTOCOL, message, socket_path

SUMS = ROWS.sum(axis=1).astype(np.float64)


def waiting(lines):
    """The lines of models that were told to wait."""
    return [line for line in lines if line.get("text") == "waiting"]


def test_it_answers_what_the_model_answers(run, served, logistic):
    bundle, estimator = logistic

    async def body():
        async with served(bundle) as it:
            got = await it.call(ROWS[:5])
            assert got["predictions"].tolist() == estimator.predict(ROWS[:5]).tolist()
            np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(ROWS[:5]))
            assert it.runner.cost.rows == len(ROWS) and it.runner.cost.single_s > 0

    run(body)


def test_many_callers_on_many_loops_each_get_their_own(run, served, hostile):
    """Two runners stand for two event loops: a worker serves both, one batch at a time."""

    async def body():
        async with served(hostile, workers=2) as it:
            runners = [it.runner, await it.another_runner()]
            random = np.random.default_rng(1)

            async def caller(runner, free):
                for _ in range(60):
                    rows = random.normal(size=(int(random.integers(1, 9)), 4)).astype(np.float32)
                    async with free:
                        got = await it.call(rows, runner=runner)
                    np.testing.assert_array_equal(got["predictions"], rows.sum(axis=1).astype(np.float64))

            free = [asyncio.Semaphore(2), asyncio.Semaphore(2)]
            await asyncio.gather(*(caller(*pair) for pair in zip(runners, free, strict=True) for _ in range(4)))
            assert [runner.slots for runner in runners] == [2, 2]
            await runners[1].close()

    run(body)


def test_two_loops_find_a_worker_each(run, served, hostile, lines, tmp_path):
    """Whichever they prefer at first, a loop that had to wait for the other one's batch tries the other worker."""

    async def body():
        async with served(hostile, workers=2) as it:
            loops = [it.runner, await it.another_runner(), await it.another_runner()]
            # Of three loops on two workers at least two prefer the same one.
            of_process = {}
            for loop in loops:
                process = (await it.call(parameters={"harm": "pid"}, runner=loop))["predictions"][0]
                of_process.setdefault(process, []).append(loop)
            one, other = max(of_process.values(), key=len)[:2]
            found = turn = 0
            while found < 3:
                turn += 1
                assert turn < 50, "they keep to the same worker"
                running = len(waiting(lines))
                slow = it.call(parameters={"harm": "wait", "until": str(tmp_path / str(turn))}, runner=one)
                await it.until(lambda running=running: len(waiting(lines)) > running)
                quick = it.call(runner=other)
                # Sent to the same worker it waits for the slow one, which is let go all the same.
                await asyncio.wait([quick], timeout=0.2)
                found += quick.done()
                (tmp_path / str(turn)).touch()
                await asyncio.gather(slow, quick)
            for loop in loops[1:]:
                await loop.close()

    run(body)


def test_a_large_batch_passes_in_pieces(run, served, hostile):
    async def body():
        async with served(hostile) as it:
            rows = np.random.default_rng(2).normal(size=(400_000, 4)).astype(np.float32)
            got = await it.call(rows)
            np.testing.assert_array_equal(got["predictions"], rows.sum(axis=1).astype(np.float64))

    run(body)


def test_connections_take_turns(run, served, hostile, lines, tmp_path):
    async def body():
        async with served(hostile) as it:
            other = await it.another_runner()
            first = it.call(parameters={"harm": "wait", "until": str(tmp_path / "go")})
            await it.until(lambda: waiting(lines))
            second = it.call(runner=other)
            second.add_done_callback(lambda _: it.changed.set())
            (tmp_path / "go").touch()
            await it.until(second.done)
            assert first.done() and isinstance(await first, dict) and isinstance(await second, dict)
            await other.close()

    run(body)


def test_a_batch_whose_deadline_passed_in_the_queue_is_not_run(run, served, hostile, lines, tmp_path):
    async def body():
        async with served(hostile) as it:
            other = await it.another_runner()
            slow = it.call(parameters={"harm": "wait", "until": str(tmp_path / "go")})
            await it.until(lambda: waiting(lines))
            late = await it.call(parameters={"harm": "hard exit"}, deadline_s=0.1, runner=other)
            assert isinstance(late, DeadlineExceeded)
            (tmp_path / "go").touch()
            assert isinstance(await slow, dict)
            await it.until(lambda: other.slots == 1)
            assert it.pool.restarts == 0
            await other.close()

    run(body)


def test_sigterm_finishes_what_runs(run, served, hostile, lines, tmp_path):
    async def body():
        async with served(hostile) as it:
            pid = int((await it.call(parameters={"harm": "pid"}))["predictions"][0])
            running = it.call(parameters={"harm": "wait", "until": str(tmp_path / "go")})
            await it.until(lambda: waiting(lines))
            os.kill(pid, signal.SIGTERM)
            (tmp_path / "go").touch()
            np.testing.assert_array_equal((await running)["predictions"], SUMS)
            await it.until(lambda: it.pool.restarts == 1 and it.runner.slots == 1)
            assert it.pool.reason == "exit code 0"

    run(body)


def test_sockets_are_private_and_go_with_the_pool(run, served, hostile):
    async def body():
        async with served(hostile) as it:
            path = socket_path(it.directory, hostile.digest, 0)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert stat.S_IMODE(it.directory.stat().st_mode) == 0o700
        assert not path.exists()
        await it.pool.close()

    run(body)


def test_a_worker_sees_nothing_of_the_nodes_environment(run, served, hostile, lines, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")

    async def body():
        async with served(hostile) as it:
            await it.call(parameters={"harm": "where"})
            await it.until(lambda: len([line for line in lines if line["event"] == "model-output"]) >= 2)
        said = {line["stream"]: line["text"] for line in lines if line["event"] == "model-output"}
        assert said["stdout"] == "model says hello"
        assert "OMP_NUM_THREADS" in said["stderr"] and "AWS_SECRET" not in said["stderr"]

    run(body)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_module\n", r"'no_such_module'.*module-missing"),
        ("raise RuntimeError('weights are gone')\n", "weights are gone.*model-load-failed"),
        ("raise SystemExit(4)\n", "SystemExit: 4.*model-load-failed"),
        ("import ctypes\nctypes.string_at(0)\n", "loading the model: killed by SIGSEGV.*worker-died"),
        ("import os, sys\nsys.stderr.write('last words')\nos._exit(9)\n", "exit code 9; it said: .*last words"),
        ("while True:\n    pass\n", "still .* after 0.7 s.*worker-slow"),
        ("class Other:\n    pass\n", "no class 'Model'.*damaged-model"),
        ("class Model:\n    def predict(self, x):\n        return x[:, 0].astype('f8')\n", "expected.*golden-mismatch"),
        ("class Model:\n    def predict(self, x):\n        return x\n", "signature says.*wrong-output"),
    ],
)
def test_a_model_that_cannot_load_says_why(run, served, tmp_path, source, said):
    bundle = python_bundle(tmp_path / "bundle", source)

    async def body():
        with pytest.raises(PenstockError, match=f"(?s){said}"):
            async with served(bundle, load_limit_s=0.7 if "while" in source else 30.0):
                raise AssertionError("it started")

    run(body)


def test_a_tampered_bundle_is_not_loaded(run, served, tmp_path):
    bundle = python_bundle(
        tmp_path / "bundle", "class Model:\n    def predict(self, x):\n        return x.sum(axis=1)\n"
    )
    (bundle.directory / "model.py").write_text("print('mine now')\n")

    async def body():
        with pytest.raises(PenstockError, match="tampered-bundle"):
            async with served(bundle):
                raise AssertionError("it started")

    run(body)


def test_a_restart_that_fails_says_why_and_is_tried_again(run, served, tmp_path, lines):
    bundle = python_bundle(tmp_path / "bundle", HOSTILE)

    async def body():
        async with served(bundle) as it:
            (bundle.directory / "model.py").write_text("print('mine now')\n")
            await it.call(parameters={"harm": "hard exit"})
            await it.until(lambda: len([line for line in lines if line["event"] == "worker-not-ready"]) >= 2)
            assert "tampered-bundle" in it.pool.reason and it.runner.slots == 0 and it.pool.alive == 0
            (bundle.directory / "model.py").write_text(HOSTILE)
            await it.until(lambda: it.runner.slots == 1)
            np.testing.assert_array_equal((await it.call())["predictions"], SUMS)

    run(body)


def test_a_python_that_is_not_there_is_named(run, hostile, tmp_path):
    async def body():
        pool = WorkerPool(hostile, tmp_path / "no-python", tmp_path / "run", WorkerPolicy(), log=lambda *_, **__: None)
        with pytest.raises(Unavailable, match=r"no-python.*worker-not-started"):
            await pool.start()

    run(body)


def test_a_pickle_needs_the_nodes_permission(run, served, tmp_path):
    estimator = LogisticRegression().fit(ROWS, [0, 1] * (len(ROWS) // 2))
    joblib.dump(estimator, tmp_path / "model.joblib")
    probabilities = estimator.predict_proba(ROWS).astype(np.float64)
    artifact = Artifact(path="model.joblib", runtime="sklearn", serialization="joblib")
    outputs = {"predictions": estimator.predict(ROWS), "probabilities": probabilities}
    folder = tmp_path / "bundle"
    folder.mkdir()
    (tmp_path / "model.joblib").rename(folder / "model.joblib")
    bundle = make_bundle(folder, artifact, LABELS, outputs)

    async def body():
        with pytest.raises(PenstockError, match="pickle-refused"):
            async with served(bundle):
                raise AssertionError("it started")
        async with served(bundle, allow_pickle=True) as it:
            assert (await it.call())["predictions"].tolist() == estimator.predict(ROWS).tolist()

    run(body)


def test_garbage_on_the_socket_harms_nobody(run, served, hostile):
    async def body():
        async with served(hostile) as it:
            path = str(socket_path(it.directory, hostile.digest, 0))
            for garbage in (b"\xff" * 64, b"\x02\0\0\0{}", message({}, {"call": "x"}), b"\x40\0\0\0half"):
                with socket.socket(socket.AF_UNIX) as stranger:
                    stranger.connect(path)
                    stranger.sendall(garbage)
                np.testing.assert_array_equal((await it.call())["predictions"], SUMS)
            assert it.pool.restarts == 0

    run(body)


@pytest.mark.parametrize("greeting", [{"protocol": PROTOCOL + 1}, {"bundle": "sha256:other"}, {"cost": "none"}])
def test_another_versions_worker_is_not_called(run, tmp_path, hostile, greeting):
    async def body():
        cost = {"single_s": 1.0, "batch_s": 1.0, "rows": 1}
        hello = {"protocol": PROTOCOL, "bundle": hostile.digest, "pid": 1, "cost": cost, **greeting}

        async def impostor(reader, writer):
            writer.write(message({}, hello))
            await reader.read()
            writer.close()

        path = socket_path(tmp_path, hostile.digest, 0)
        server = await asyncio.start_unix_server(impostor, path)
        runner = WorkerRunner(tmp_path, hostile.digest, 1)
        with pytest.raises(Unavailable, match="no-worker"):
            await runner.connect(limit_s=0.2)
        server.close()

    run(body)


def test_with_no_worker_a_batch_fails_at_once(run, tmp_path, hostile):
    async def body():
        got = []
        runner = WorkerRunner(tmp_path, hostile.digest, 1)
        runner.start({"x": ROWS}, None, 1.0, got.append)
        assert got[0].code == "no-worker"
        await runner.close()

    run(body)


@pytest.mark.parametrize("harm", ["none", "hold the lock"])
def test_workers_die_with_their_parent(tmp_path, hostile, harm):
    """An idle one and one that is hung in its model, which no Python code of ours could end."""
    script = textwrap.dedent(f"""
        import asyncio, sys
        from pathlib import Path
        import numpy as np
        from penstock.runtime.worker.client import WorkerRunner
        from penstock.bundle.bundle import verify_directory
        from penstock.runtime.worker.policy import WorkerPolicy
        from penstock.runtime.worker.pool import WorkerPool

        async def main():
            bundle = verify_directory(Path({str(hostile.directory)!r}))
            pool = WorkerPool(bundle, Path(sys.executable), Path({str(tmp_path / "run")!r}), WorkerPolicy(),
                              log=lambda event, **fields: print(event, fields["pid"], flush=True))
            await pool.start()
            runner = WorkerRunner(Path({str(tmp_path / "run")!r}), bundle.digest, 1)
            await runner.connect()
            runner.start({{"x": np.zeros((1, 4), np.float32)}}, {{"harm": {harm!r}}}, None, print)
            await asyncio.sleep(0.3)
            print("hung", 0, flush=True)
            await asyncio.sleep(1000)

        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        _, pid = parent.stdout.readline().split()
        while not parent.stdout.readline().startswith("hung"):
            pass
        worker = os.pidfd_open(int(pid)) if hasattr(os, "pidfd_open") else None
        parent.kill()
    if worker is None:
        pytest.skip("this system has no pidfd to wait for somebody else's process")
    import select

    assert select.select([worker], [], [], 60)[0], "the worker outlived its parent"
    os.close(worker)


def test_the_policy_refuses_a_field_it_does_not_know():
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"worker": 2}, WorkerPolicy)


def test_the_folder_of_the_code_holds_this_package_only(run, served, hostile):
    async def body():
        async with served(hostile) as it:
            code = it.directory / "code"
            assert [path.name for path in code.iterdir()] == ["penstock"]
            assert (code / "penstock").resolve() == Path(__import__("penstock").__file__).parent

    run(body)
