"""Small real bundles, sealed as packing seals them."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
import uvloop
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops import io as skops_io

from penstock.bundle.bundle import seal
from penstock.bundle.manifest import Artifact, Batching, Evidence, Golden, Manifest
from penstock.core.signature import Field, Signature
from penstock.runtime import golden
from penstock.runtime.environment import lock_current
from penstock.runtime.worker.client import WorkerRunner
from penstock.runtime.worker.policy import WorkerPolicy
from penstock.runtime.worker.pool import WorkerPool

ROWS = np.random.default_rng(3).normal(size=(16, 4)).astype(np.float32)
VALUES = Signature(
    inputs=(Field(name="x", datatype="FP32", shape=(-1, 4)),),
    outputs=(Field(name="predictions", datatype="FP64", shape=(-1,)),),
    layout="matrix",
)
LABELS = Signature(
    inputs=VALUES.inputs,
    outputs=(
        Field(name="predictions", datatype="INT64", shape=(-1,)),
        Field(name="probabilities", datatype="FP64", shape=(-1, 2)),
    ),
    layout="matrix",
    classes=(0, 1),
)


def make_bundle(directory, artifact, signature, outputs, *, inputs=None, environment=None, **rules):
    """Seal `directory`, which already holds the model's files, with golden rows that have these outputs."""
    inputs = {"x": ROWS} if inputs is None else inputs
    golden.write(directory / "golden.bin", [golden.GoldenCall(inputs, outputs)])
    if environment is None:
        requirements, environment = lock_current(["numpy"])
        (directory / "requirements.txt").write_text(requirements)
    draft = Manifest(
        format=1, name="model", kind="python", signature=signature, files={}, original=artifact, served=artifact,
        builtin_operators=False, evidence=Evidence(converted=False, reason="served as it is"),
        batching=Batching(allowed=rules.pop("batched", True), reason="rows agree"),
        golden=Golden(path="golden.bin", rows=len(ROWS), **{"deterministic": True, **rules}), environment=environment,
    )  # fmt: skip
    return seal(directory, draft)


def python_bundle(directory, source, *, expected=None, entry="Model", **rules):
    """A bundle of a Python class; without `expected` its golden rows expect the sum of each row."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.py").write_text(source)
    artifact = Artifact(path="model.py", runtime="python", serialization="source", entry=entry)
    outputs = {"predictions": ROWS.sum(axis=1).astype(np.float64) if expected is None else expected}
    return make_bundle(directory, artifact, VALUES, outputs, **rules)


@pytest.fixture(scope="session")
def logistic(tmp_path_factory):
    """A scikit-learn pipeline stored as skops: (bundle, estimator)."""
    directory = tmp_path_factory.mktemp("logistic")
    x = np.random.default_rng(5).normal(size=(400, 4)).astype(np.float32)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (x[:, 0] > 0).astype(np.int64))
    skops_io.dump(estimator, directory / "model.skops")
    artifact = Artifact(path="model.skops", runtime="sklearn", serialization="skops")
    outputs = {
        "predictions": estimator.predict(ROWS),
        "probabilities": estimator.predict_proba(ROWS).astype(np.float64),
    }
    return make_bundle(directory, artifact, LABELS, outputs), estimator


HOSTILE = """
import ctypes, os, signal, subprocess, sys, time

LEAKED = []

class Model:
    def predict(self, x, parameters):
        harm = parameters.get("harm")
        if harm == "spin":
            while True:
                pass
        if harm == "deaf":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            while True:
                pass
        if harm == "hold the lock":
            ctypes.PyDLL(None).sleep(1000)
        if harm == "segfault":
            ctypes.string_at(0)
        if harm == "exit":
            sys.exit(7)
        if harm == "hard exit":
            os._exit(7)
        if harm == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if harm == "orphan":
            print(subprocess.Popen(["sleep", "1000"]).pid, flush=True)
            os._exit(0)
        if harm == "leak":
            LEAKED.append(bytearray(os.urandom(1 << 20) * 64))
        if harm == "too much":
            bytearray(1 << 46)
        if harm == "raise":
            raise ValueError("no such city")
        if harm == "interrupt":
            raise KeyboardInterrupt
        if harm == "wait":
            print("waiting", flush=True)
            while not os.path.exists(parameters["until"]):
                time.sleep(0.005)
        if harm == "where":
            print("model says hello", flush=True)
            print(sorted(os.environ), sys.path[:3], sys.version_info[:2], file=sys.stderr, flush=True)
        if harm == "pid":
            return [float(os.getpid())] * len(x)
        return x.sum(axis=1).astype("float64")
"""


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """A bundle whose model does, when asked by a parameter, what no model should."""
    return python_bundle(tmp_path_factory.mktemp("hostile") / "bundle", HOSTILE)


class Served:
    """A pool and one event loop's runner on it."""

    def __init__(self, bundle, directory, lines, **policy):
        self.bundle, self.directory, self.lines = bundle, directory, lines
        quick = {"workers": 1, "grace_s": 0.2, "backoff_first_s": 0.01, **policy}
        self.policy = WorkerPolicy(**quick)
        self.changed = asyncio.Event()

    async def __aenter__(self):
        self.pool = WorkerPool(
            self.bundle, Path(sys.executable), self.directory, self.policy,
            log=lambda event, **fields: self._log({"event": event, **fields}),
        )  # fmt: skip
        await self.pool.start()
        try:
            self.runner = await self.another_runner()
        except BaseException:
            await self.pool.close()
            raise
        return self

    async def __aexit__(self, *_):
        await self.runner.close()
        await self.pool.close()

    def _log(self, line):
        self.lines.append(line)
        self.changed.set()

    async def another_runner(self):
        runner = WorkerRunner(self.directory, self.bundle.digest, self.policy.workers, on_change=self.changed.set)
        await runner.connect()
        return runner

    async def until(self, condition):
        """Wait for something that comes with a log line or a change of slots; what it came to."""
        while not (found := condition()):
            self.changed.clear()
            await self.changed.wait()
        return found

    def call(self, rows=ROWS, parameters=None, deadline_s=60.0, runner=None):
        """A future of the outputs or the error."""
        future = asyncio.get_running_loop().create_future()
        (runner or self.runner).start({"x": rows}, parameters, deadline_s, future.set_result)
        return future


@pytest.fixture
def lines():
    return []


@pytest.fixture
def served(tmp_path, lines):
    """`served(bundle, **policy)`: an async context manager."""
    return lambda bundle, **policy: Served(bundle, tmp_path / "run", lines, **policy)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request):
    """`run(body)`: run a coroutine function on each kind of event loop, for at most 100 s, its only limit."""

    def bounded_run(body):
        async def bounded():
            async with asyncio.timeout(100):
                await body()

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(bounded())

    return bounded_run
