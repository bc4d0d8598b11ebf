"""Open-loop load: requests leave at fixed times, whether earlier ones were answered or not.

`python -m verification.paced` (see `Paced`) is a process of its own, so that it can have a core of its own. A latency
counts from the moment the request was due: a client that waited for the server would hide the wait.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import msgspec

from verification.store import ROOT

MOST_CONNECTIONS = 2000
PATIENCE_S = 30.0


class Answer(msgspec.Struct, array_like=True):
    """One request: when it was due (seconds since the epoch), the seconds to its answer, and the status; 0: none."""

    due: float
    seconds: float
    status: int


class Paced:
    """Sends `body` to `path` `rate` times a second from `core` until `stop`."""

    def __init__(self, port: int, path: str, body: bytes, rate: float, core: int, folder: Path) -> None:
        self._out = folder / f"paced-{time.monotonic_ns()}.json"
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        task = {"port": port, "request": head + body.decode(), "rate": rate, "out": str(self._out)}
        self._command = [sys.executable, "-m", "verification.paced", json.dumps(task)]
        self._core = core

    def __enter__(self) -> Self:
        core = self._core
        self._process = subprocess.Popen(self._command, cwd=ROOT, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def stop(self) -> list[Answer]:
        """Send no more, wait for the answers still owed, and return all."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_S + 30)
        return msgspec.json.decode(self._out.read_bytes(), type=list[Answer])


class _Sender:
    """One thread, one selector; a connection carries one request at a time."""

    def __init__(self, port: int, request: bytes, rate: float) -> None:
        self.answers: list[Answer] = []
        self.stopped = False
        self._port = port
        self._request = request
        self._interval_s = 1 / rate
        self._selector = selectors.DefaultSelector()
        self._idle: list[socket.socket] = []
        self._due: dict[socket.socket, float] = {}
        self._got: dict[socket.socket, bytes] = collections.defaultdict(bytes)

    def run(self) -> None:
        """Send until stopped, then collect what is owed."""
        due = time.time()
        while not self.stopped:
            while due <= time.time():
                self._send(due)
                due += self._interval_s
            self._receive(max(0.0, due - time.time()))
        end = time.time() + PATIENCE_S
        while self._due and time.time() < end:
            self._receive(0.1)
        for due in self._due.values():
            self.answers.append(Answer(due, time.time() - due, 0))

    def _send(self, due: float) -> None:
        try:
            connection = self._idle.pop() if self._idle else self._connect()
            connection.sendall(self._request)
        except OSError:
            self.answers.append(Answer(due, time.time() - due, 0))
            return
        self._due[connection] = due

    def _connect(self) -> socket.socket:
        if len(self._due) >= MOST_CONNECTIONS:
            raise OSError("too many requests without an answer")
        connection = socket.create_connection(("127.0.0.1", self._port), PATIENCE_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(connection, selectors.EVENT_READ, connection)
        return connection

    def _receive(self, limit_s: float) -> None:
        for key, _ in self._selector.select(limit_s):
            connection: socket.socket = key.data
            try:
                data = connection.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                self._closed(connection)
                continue
            got = self._got[connection] = self._got[connection] + data
            if _whole(got):
                del self._got[connection]
                due = self._due.pop(connection)
                self.answers.append(Answer(due, time.time() - due, int(got[9:12])))
                self._idle.append(connection)

    def _closed(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()
        self._got.pop(connection, None)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if connection in self._due:
            due = self._due.pop(connection)
            self.answers.append(Answer(due, time.time() - due, 0))


def _whole(reply: bytes) -> bool:
    head, found, body = reply.partition(b"\r\n\r\n")
    if not found:
        return False
    return len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


def main() -> None:
    """Run the task given as the argument until SIGTERM, then write the answers."""
    task = json.loads(sys.argv[1])
    sender = _Sender(task["port"], task["request"].encode(), task["rate"])

    def stop(*_: object) -> None:
        sender.stopped = True

    signal.signal(signal.SIGTERM, stop)
    # A forgotten client must not load a machine for ever.
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(600)
    sender.run()
    Path(task["out"]).write_bytes(msgspec.json.encode(sender.answers))


if __name__ == "__main__":
    main()
