"""Real control processes on real databases, and the simplest client that can be right about them."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.registry.conftest import database_url, postgres  # noqa: F401 - fixtures
from tests.serving.bundles import summing
from tests.serving.conftest import make_node  # noqa: F401 - a fixture
from tests.serving.nodes import LIMIT_S, START_S, free_port, summing_body, until

from penstock.bundle.bundle import save_bundle


class Api:
    """Requests to one control with one key."""

    def __init__(self, port, key=""):
        self.port = port
        self.key = key

    def request(self, method, path, body=None, **headers):
        """(status, headers in lower case, JSON or None)."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            headers.setdefault("authorization", f"Bearer {self.key}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(data) if data else None
        finally:
            connection.close()

    def get(self, path, status=200, **headers):
        return self._whole("GET", path, None, status, headers)

    def post(self, path, body=None, status=200, **headers):
        return self._whole("POST", path, body, status, headers)

    def _whole(self, method, path, body, status, headers):
        got, _, answer = self.request(method, path, body, **headers)
        assert got == status, answer
        return answer

    def as_role(self, role, **wish):
        made = self.post("/v1/keys", {"subject": f"a-{role}", "role": role, **wish}, 201)
        return Api(self.port, made["text"])

    def register(self, model, bundle):
        return self.post(f"/v1/models/{model}/versions", bundle.read_bytes(), 201)["number"]

    def begin(self, spec, **headers):
        return self.post("/v1/apply", spec, 202, **headers)

    def ended(self, operation):
        """The operation when it has ended, followed by long poll as a client would."""
        number = operation["id"]
        while operation["state"] in ("pending", "running"):
            known = len(operation["progress"])
            operation = self.get(f"/v1/operations/{number}?after={known}&wait_s=5")
        return operation

    def apply(self, spec, **headers):
        operation = self.ended(self.begin(spec, **headers))
        assert operation["state"] == "done", operation
        return operation


def spec(**endpoints):
    """`name="sum/1"`, or a whole endpoint."""
    whole = {name: {"model": one} if isinstance(one, str) else one for name, one in endpoints.items()}
    return {"version": 1, "endpoints": whole}


class Up:
    """`penstock up` in a home of its own. The node it leaves is ended at the end, too."""

    def __init__(self, home, database="", *options):
        self.home = Path(home)
        self.port, self.node_port = free_port(), free_port()
        self.database, self.options = database, options
        self.process = None

    def command(self):
        ports = ["--port", str(self.port), "--node-port", str(self.node_port), "--processes", "1"]
        where = ["--home", str(self.home), *(["--database", self.database] if self.database else [])]
        return [sys.executable, "-m", "penstock", "up", *ports, *where, *self.options]

    def start(self):
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.home / "said").open("ab") as said:
            self.process = subprocess.Popen(
                self.command(), stdout=said, stderr=said, stdin=subprocess.DEVNULL, env={**os.environ}
            )
        until(self.is_ready, START_S, "control")
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.said()
        with contextlib.suppress(OSError):
            return Api(self.port).request("GET", "/v1/health/ready")[0] == 200

    def said(self):
        return (self.home / "said").read_text()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)

    @property
    def api(self):
        return Api(self.port, (self.home / "admin.key").read_text().strip())

    def node_pid(self, name="local"):
        path = self.home / "nodes" / name / "running.json"
        until(path.exists, START_S, "a started node")
        return json.loads(path.read_bytes())["pid"]

    def predict(self, endpoint="sum"):
        """The first number of an answer; the status when there is none, 0 when nobody is there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node_port, timeout=LIMIT_S)
        try:
            connection.request("POST", f"/v2/models/{endpoint}/infer", json.dumps(summing_body()))
            answer = connection.getresponse()
            body = json.loads(answer.read())
            return body["outputs"][0]["data"][0] if answer.status == 200 else answer.status
        except OSError:
            return 0
        finally:
            connection.close()

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for state in self.home.glob("nodes/*/running.json"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(state.read_bytes())["pid"], signal.SIGKILL)

    def events(self, name, log="control"):
        lines = (self.home / "logs" / f"{log}.log").read_bytes().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == name]


@pytest.fixture
def make_up():
    """`make_up(database, *options)`: a `penstock up` that is not started yet, in a short-named home."""
    made = []
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:

        def make(database="", *options):
            made.append(Up(Path(folder) / f"home{len(made)}", database, *options))
            return made[-1]

        yield make
        for up in made:
            up.close()


@pytest.fixture(scope="session")
def archives(tmp_path_factory):
    """Two bundles as files: their answers to `summing_body` are 110 and 210."""
    folder = tmp_path_factory.mktemp("archives")
    return [
        save_bundle(summing(folder / str(offset), float(offset)), folder / f"sum-{offset}.penstock")
        for offset in (100, 200)
    ]
