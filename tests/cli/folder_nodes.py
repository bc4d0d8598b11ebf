"""Nodes of `penstock serve --model-base-path` as processes."""

import http.client
import json
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

import psutil

LIMIT_S = 60


def until(condition, what, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)
    return found


class Served:
    """A running node."""

    def __init__(self, process, port, log):
        self.process, self.port, self.log = process, port, log

    def ask(self, method, path, document=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        try:
            connection.request(method, path, None if document is None else json.dumps(document))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/v2/health/ready")[0] == 200
        except OSError:
            return False

    def states(self, model="m"):
        status, answer = self.ask("GET", f"/v1/models/{model}")
        return {one["version"]: one["state"] for one in answer["model_version_status"]} if status == 200 else {}

    def watchers(self):
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if "penstock.cli.folders" in child.cmdline()]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def serving(environ, folder, arguments, processes=1, wait=True, limit_s=LIMIT_S):
    """A node with `arguments`, run in `folder`, that is ready; it has to end with status 0."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1] if "--port" not in arguments else int(arguments[arguments.index("--port") + 1])
    command = ["penstock", "serve", *map(str, arguments), "--processes", str(processes)]
    command += [] if "--port" in arguments else ["--port", str(port)]
    log = folder / f"log-{time.monotonic_ns()}"
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=environ, stderr=stderr, cwd=folder)
    node = Served(process, port, log)
    try:
        if wait:
            until(node.ready, "a ready node", limit_s)
        yield node
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
    assert process.returncode == 0, log.read_text()
    assert "internal-error" not in log.read_text() and "watch-failed" not in log.read_text()
