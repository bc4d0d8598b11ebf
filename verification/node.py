"""A node of our own on loopback, that follows a route document which we publish."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from verification.processes import tree

START_S = 60.0
STOP_S = 40.0
Found = TypeVar("Found")


class Node:
    """Runs while the `with` block does, bound to `cores`; its log is a file, read from where it was left."""

    def __init__(self, folder: Path, cores: Collection[int], *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self._cores = cores
        self._options = options
        self._log = folder / "node.log"
        self._read = 0
        self._generation = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "penstock", "node", "--routes", "routes.json", "--port", str(self.port)]
        command += ["--home", "home", "--processes", "1", *self._options]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: os.sched_setaffinity(0, self._cores),
            )  # fmt: skip
        try:
            until(self._alive, START_S, "a live node")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        mine = tree(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            # Its model processes first: they are its own, and would be nobody's a moment later.
            for process in reversed(mine):
                os.kill(process, signal.SIGKILL)
            self.process.wait()

    def _alive(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError("the node ended: " + " | ".join(self._log.read_text().splitlines()[-3:]))
        try:
            return bool(self.get("/v2/health/live"))
        except (OSError, urllib.error.HTTPError):
            return False

    def publish(self, endpoints: dict[str, Any]) -> tuple[int, float]:
        """Write a route document whole, by rename; its generation, and when that was (seconds since the epoch)."""
        self._generation += 1
        document = {"format": 1, "generation": self._generation, "endpoints": endpoints}
        partial = self.folder / "routes.partial"
        partial.write_text(json.dumps(document))
        published = time.time()
        partial.replace(self.folder / "routes.json")
        return self._generation, published

    def until_event(self, event: str, limit_s: float = 60, **fields: object) -> float:
        """Wait for a line of the log that comes after all that were waited for; when it was logged."""

        def found() -> float | None:
            for line in self._new_lines(f'"event":"{event}"'.encode()):
                said = json.loads(line)
                if all(said.get(key) == value for key, value in fields.items()):
                    return datetime.fromisoformat(said["time"]).timestamp()
            return None

        return until(found, limit_s, f"{event} {fields}")

    def _new_lines(self, wanted: bytes) -> list[bytes]:
        """Lines that hold `wanted` in what was appended since the last look; requests' lines are millions."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        text = text[: text.rfind(b"\n") + 1]
        self._read += len(text)
        if wanted not in text and b'-refused"' not in text and b'-failed"' not in text:
            return []
        for line in re.findall(rb'^.*"event":"(?:load|routes)-(?:refused|failed)".*$', text, re.MULTILINE):
            raise RuntimeError(line.decode())
        return [line for line in text.splitlines() if wanted in line]

    def get(self, path: str) -> bytes:
        """The body of a GET; raises for any status but 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as reply:
            return bytes(reply.read())

    def post(self, path: str, body: bytes) -> bytes:
        """The body of the answer to a POST; raises for any status but 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", body, timeout=10) as reply:
            return bytes(reply.read())

    def lost(self) -> int:
        """Accepted requests that were not answered, even seconds after the last one came."""
        with contextlib.suppress(TimeoutError):
            until(lambda: self._owed() == 0, 5, "the last answer")
        return self._owed()

    def _owed(self) -> int:
        # The request that asks is accepted and not answered yet.
        page = self.get("/metrics").decode()
        counts = dict(re.findall(r"^penstock_(accepted|answered)_total (\S+)", page, re.MULTILINE))
        return int(float(counts["accepted"])) - 1 - int(float(counts["answered"]))


def until(condition: Callable[[], Found | None], limit_s: float, what: str) -> Found:
    """Look every few milliseconds until `condition` gives something true, which is returned."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {limit_s:g} s")
        time.sleep(0.01)
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
