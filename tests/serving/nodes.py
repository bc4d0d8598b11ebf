"""Real nodes in processes of their own, and the simplest client that can be right about bytes."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from penstock.core.digest import canonical_json
from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint, Limits, RouteDocument
from penstock.serving.settings import NodeSettings

# Generous: how fast a node is, is the benchmarks' affair; a test that ends here has failed.
START_S = 90
LIMIT_S = 60
PROGRAM = (
    "import sys, msgspec; from penstock.serving.run import run_node;"
    "from penstock.serving.settings import NodeSettings, decode_path;"
    "sys.exit(run_node(msgspec.json.decode(sys.argv[1], type=NodeSettings, dec_hook=decode_path)))"
)


def until(condition, limit_s=LIMIT_S, what="the condition"):
    """Poll `condition` until it gives something true; that is returned."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come within {limit_s} s"
        time.sleep(0.01)
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def endpoint(*bundles, weights=None, limits=None, **rules):
    """An endpoint with an arm `arm-N`, version `model/N+1`, for each bundle."""
    weights = weights or [TOTAL_WEIGHT] + [0] * (len(bundles) - 1)
    arms = tuple(
        arm(bundle, number, f"arm-{number - 1}", weight)
        for number, (bundle, weight) in enumerate(zip(bundles, weights, strict=True), 1)
    )
    return Endpoint(arms=arms, limits=Limits(**(limits or {})), **rules)


def arm(bundle, number, name="main", weight=TOTAL_WEIGHT):
    """The arm that serves `bundle` as version `model/number`."""
    return Arm(name=name, version=f"model/{number}", bundle=bundle.digest, uri=str(bundle.directory), weight=weight)


def document(generation, **endpoints):
    return RouteDocument(format=1, generation=generation, endpoints=endpoints)


class RunningNode:
    """A node on a free port. `publish` replaces its routes as a writer should: whole, by rename."""

    def __init__(self, directory: Path, **settings):
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log_path = directory / f"log-{time.monotonic_ns()}"
        self.settings = NodeSettings(
            routes=directory / "routes.json", home=directory / "home", port=free_port(), drain_s=10, **settings
        )
        self.port = self.settings.port
        self.process = None

    def publish(self, doc):
        self.publish_text(doc if isinstance(doc, bytes) else canonical_json(doc))

    def publish_text(self, data):
        partial = self.directory / "routes.partial"
        partial.write_bytes(data)
        partial.replace(self.settings.routes)

    def start(self, wait="ready"):
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        text = msgspec.json.encode(self.settings, enc_hook=str).decode()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, text], stderr=log, stdout=log, stdin=subprocess.DEVNULL, env=environment
            )
        if wait:
            until(lambda: self.alive() and self.try_status(f"/v2/health/{wait}") == 200, START_S, "a ready node")
        return self

    def alive(self):
        assert self.process.poll() is None, f"the node ended: {self.log_path.read_text()[-3000:]}"
        return True

    def try_status(self, path):
        try:
            return self.get(path)[0]
        except OSError:
            return 0

    def stop(self):
        """Drain it; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self.process = None
        return code

    def lines(self):
        """Every whole line of the log, each of which must be JSON."""
        text = b"".join(path.read_bytes() for path in sorted(self.directory.glob("log-*")))
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def events(self, name):
        return [line for line in self.lines() if line["event"] == name]

    def until_event(self, name, limit_s=LIMIT_S, **fields):
        def found():
            return [line for line in self.events(name) if all(line.get(key) == value for key, value in fields.items())]

        return until(found, limit_s, f"event {name} {fields}")[-1]

    # ---- talking to it

    def connection(self, timeout_s=LIMIT_S):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)

    def request(self, method, path, body=None, headers=None):
        """(status, headers in lower case, body) of one request on a connection of its own."""
        connection = self.connection()
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, document, headers=None):
        """(status, headers, decoded JSON) of a POST; `document` is bytes or what becomes JSON."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, got, answer = self.request("POST", path, body, headers)
        return status, got, json.loads(answer)

    def raw(self, data, *, finish=True, timeout_s=LIMIT_S):
        """Everything the node sends on a connection on which `data` is sent as it is, until it closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout_s) as client:
            client.settimeout(timeout_s)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                client.sendall(data)
            if finish:
                client.shutdown(socket.SHUT_WR)
            return read_to_end(client)


def read_to_end(client):
    parts = []
    while data := client.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def replies(data):
    """[(status, headers, body)] of every response in `data`."""
    out = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0))
        assert len(rest) >= size, f"a cut reply: {data[:300]!r}"
        out.append((int(first.split()[1]), headers, rest[:size]))
        data = rest[size:]
    return out


def summing_body(*rows):
    """An infer request to a model of four numbers."""
    rows = rows or ([1, 2, 3, 4],)
    flat = [value for row in rows for value in row]
    return {"inputs": [{"name": "x", "shape": [len(rows), 4], "datatype": "FP32", "data": flat}]}
