"""A control of our own with many nodes, each a process, all on loopback and in one home."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from verification.node import START_S, STOP_S, free_port, until


class Fleet:
    """`penstock up --no-node` and `count` nodes that follow it, while the `with` block lasts."""

    def __init__(self, folder: Path, count: int) -> None:
        self.home = folder / "home"
        self.port = free_port()
        self.nodes = [free_port() for _ in range(count)]
        self._log = folder / "fleet.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start("up", "--no-node", "--port", str(self.port))
            until(self._up, START_S, "control")
            for number, port in enumerate(self.nodes):
                key = self.home / f"node-{number}.key"
                key.write_text(self.ask("POST", "/v1/keys", {"subject": f"node:n{number}", "role": "viewer"})["text"])
                follow = ["--control", f"http://127.0.0.1:{self.port}", "--key-file", str(key)]
                self._start("node", "--name", f"n{number}", "--port", str(port), "--processes", "1", *follow)
            for port in self.nodes:
                until(lambda port=port: _metrics(port), START_S, "a node")  # type: ignore[misc]
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def apply(self, spec: dict[str, Any]) -> tuple[int, float]:
        """Apply a spec; the generation it ended in, and when control said so (monotonic seconds)."""
        operation = self.ask("POST", "/v1/apply", spec)
        while operation["state"] in ("pending", "running"):
            known = len(operation["progress"])
            operation = self.ask("GET", f"/v1/operations/{operation['id']}?after={known}&wait_s=5")
        if operation["state"] != "done":
            raise RuntimeError(f"the apply ended {operation['state']}: {operation['error']}")
        return int(operation["generation"]), time.monotonic()

    def until_all_obey(self, generation: int, limit_s: float) -> float:
        """When the last node obeyed the generation (monotonic seconds), as each says itself."""
        return self._until_all(lambda port: _generation(port) >= generation, limit_s, f"generation {generation}")

    def until_all_answer(self, endpoint: str, version: str, body: bytes, limit_s: float) -> float:
        """When the last node answered a request with this version (monotonic seconds)."""
        return self._until_all(lambda port: _answering(port, endpoint, body) == version, limit_s, f"version {version}")

    def _until_all(self, reached: Callable[[int], bool], limit_s: float, what: str) -> float:
        waiting = set(self.nodes)

        def all_reached() -> bool:
            waiting.difference_update([port for port in waiting if reached(port)])
            return not waiting

        until(all_reached, limit_s, f"{what} on every node")
        return time.monotonic()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """An answer of control's API as plain values; raises for a failure."""
        key = (self.home / "admin.key").read_text().strip()
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"authorization": f"Bearer {key}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310 - loopback, as written above
            return json.loads(reply.read())

    def _start(self, *words: str) -> None:
        command = [sys.executable, "-m", "penstock", *words, "--home", str(self.home)]
        with self._log.open("ab") as log:
            self._processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def _up(self) -> bool:
        if self._processes[0].poll() is not None:
            raise RuntimeError("control ended: " + " | ".join(self._log.read_text().splitlines()[-3:]))
        with contextlib.suppress(OSError):
            return bool(self.ask("GET", "/v1/health/ready"))
        return False

    def _stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Callers:
    """Ask each of these nodes, one call after the other, until they are left; what is not answered with 200 is lost."""

    def __init__(self, ports: Sequence[int], endpoint: str, body: bytes) -> None:
        self._stop = threading.Event()
        self._asked = f"/v2/models/{endpoint}/infer", body
        self._threads = [threading.Thread(target=self._ask, args=(port,)) for port in ports]
        self.answered = self.lost = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not self._stop.wait(0.002):
            try:
                connection.request("POST", *self._asked)
                answer = connection.getresponse()
                answer.read()
                right = answer.status == 200
            except OSError:
                right = False
            with self._lock:
                self.answered += right
                self.lost += not right
        connection.close()


def _metrics(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
            return str(reply.read().decode())
    except OSError:
        return ""


def _generation(port: int) -> int:
    found = re.search(r"^penstock_generation (\S+)", _metrics(port), re.MULTILINE)
    return int(float(found[1])) if found else -1


def _answering(port: int, endpoint: str, body: bytes) -> str:
    """The number of the version that answers; empty where none does."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{endpoint}/infer", body, timeout=10) as reply:
            return str(json.loads(reply.read())["model_version"])
    except OSError:
        return ""
