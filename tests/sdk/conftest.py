"""A real node with real models, and both clients behind one call."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.sdk.misbehaving import Misbehaving

import penstock


class Time:
    """A clock that only sleeping moves; it remembers the pauses."""

    def __init__(self):
        self.now = 1000.0
        self.pauses = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)


@pytest.fixture
def time():
    return Time()


@pytest.fixture(params=["sync", "async"])
def ask(request, time):
    """`ask(url, method, *args, client={...}, **kwargs)` with one client or the other, under the test's clock."""

    def sync(url, method, *args, client=None, **kwargs):
        options = {"clock": time, "sleep": time.sleep, "draw": lambda: 0.5, **(client or {})}
        with penstock.Client(url, **options) as asked:
            return getattr(asked, method)(*args, **kwargs)

    def asynchronous(url, method, *args, client=None, **kwargs):
        async def main():
            options = {"clock": time, "sleep": time.sleep_async, "draw": lambda: 0.5, **(client or {})}
            async with penstock.AsyncClient(url, **options) as asked:
                return await getattr(asked, method)(*args, **kwargs)

        return asyncio.run(main())

    return sync if request.param == "sync" else asynchronous


@pytest.fixture
def server():
    misbehaving = Misbehaving()
    yield misbehaving
    misbehaving.close()


# ---- a real node


@pytest.fixture(scope="session")
def matrix():
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    return x, LogisticRegression().fit(x, (x[:, 0] + x[:, 1] > 0).astype(int) * 3)


@pytest.fixture(scope="session")
def people():
    rows = 120
    return pd.DataFrame(
        {
            "age": [20 + number % 50 for number in range(rows)],
            "income": [1000.0 + 37.5 * (number % 31) for number in range(rows)],
            "city": [["Oslo", "Rome", "Bern"][number % 3] for number in range(rows)],
        }
    )


@pytest.fixture(scope="session")
def churn(people):
    columns = ColumnTransformer([("numbers", StandardScaler(), ["age", "income"]), ("city", OneHotEncoder(), ["city"])])
    labels = np.where((people["age"] % 7 > 3) ^ (people["city"] == "Oslo"), "yes", "no")
    return make_pipeline(columns, LogisticRegression()).fit(people, labels)


@pytest.fixture(scope="session")
def gaps():
    frame = pd.DataFrame({"a": np.linspace(0, 1, 200), "b": np.linspace(5, 0, 200)})
    frame.loc[::5, "a"] = np.nan
    frame.loc[::7, "b"] = np.nan
    target = frame["a"].fillna(3) + frame["b"].fillna(-3)
    return frame, HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(frame, target)


@pytest.fixture(scope="session")
def node(matrix, people, churn, gaps, tmp_path_factory):
    """The address of a node that serves `matrix`, `churn` (two versions, all traffic to the first) and `gaps`."""
    home = tmp_path_factory.mktemp("node")
    older = LogisticRegression(C=0.001).fit(*(matrix[0], matrix[1].predict(matrix[0])))
    models = {
        "matrix": [(matrix[1], matrix[0]), (older, matrix[0])],
        "churn": [(churn, people)],
        "gaps": [(gaps[1], gaps[0])],
    }
    endpoints = {}
    for name, versions in models.items():
        arms = []
        for number, (model, sample) in enumerate(versions, 1):
            packed = penstock.pack(model, sample, name=name, out=home / f"{name}-{number}")
            weight = 0 if number > 1 else 10_000
            arm = {"name": f"arm{number}", "version": f"{name}/{number}", "weight": weight}
            arms.append({**arm, "bundle": packed.digest, "uri": str(packed.path)})
        endpoints[name] = {"arms": arms}
    (home / "routes.json").write_text(json.dumps({"format": 1, "generation": 1, "endpoints": endpoints}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"routes": str(home / "routes.json"), "home": str(home), "port": port}
    command = [sys.executable, "-m", "penstock.serving", "0", json.dumps(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        said = b""
        while b'"serving"' not in said:
            line = process.stderr.readline()
            assert line, said.decode()
            said += line
        # What it says later must be read, or it would stop at a full pipe.
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        reader.join()
