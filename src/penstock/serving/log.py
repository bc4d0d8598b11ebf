"""Structured lines to stderr, written by a thread of their own: a reader that stalls must not stall an answer.

Text on a terminal, JSON otherwise. Lines never hold inputs or outputs. When nobody reads, lines are dropped and
counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from penstock.core.clock import timestamp

MAX_LINES = 50_000
_encode = msgspec.json.Encoder().encode


class Log:
    """One process's log. `event` and `access` only append; a thread writes every `interval_s`."""

    def __init__(self, descriptor: int, *, json: bool, clock: Callable[[], float], interval_s: float = 0.05) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._json = json
        self._clock = clock
        self._interval_s = interval_s
        self._lines: deque[bytes] = deque()
        self._stop = threading.Event()
        self._second = -1.0
        self._stamp = ""
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def event(self, name: str, **fields: Any) -> None:
        """Something that happened: loaded, swapped, refused, crashed."""
        if self._json:
            self._append(_encode({"time": timestamp(self._clock()), "event": name, **fields}) + b"\n")
        else:
            said = " ".join(f"{key}={value}" for key, value in fields.items())
            self._append(f"{timestamp(self._clock())} {name} {said}\n".encode())

    def access(self, prefix: str, status: int, seconds: float, rows: int, request_id: str) -> None:
        """One answered request; `prefix` is the arm's part of the line, made once (see `access_prefix`)."""
        now = self._clock()
        # The stamp is made once a millisecond, not once a request.
        millisecond = now * 1000 // 1
        if millisecond != self._second:
            self._second, self._stamp = millisecond, timestamp(now)
        if self._json:
            form = (
                f'{{"time":"{self._stamp}",{prefix},"status":{status},"duration_us":{int(seconds * 1e6)},'
                f'"rows":{rows},"id":"{request_id}"}}\n'
            )
        else:
            form = f"{self._stamp} {prefix} {status} {int(seconds * 1e6)}us rows={rows} id={request_id}\n"
        self._append(form.encode())

    def access_prefix(self, endpoint: str, arm: str, version: str) -> str:
        """The part of an access line that is the same for every request to one arm."""
        if self._json:
            return f'"event":"request","endpoint":"{endpoint}","arm":"{arm}","version":"{version}"'
        return f"request {endpoint}/{arm} {version}"

    def access_caller(self, subject: str) -> str:
        """The part of an access line that tells who called; what a subject is made of is not ours to trust."""
        quoted = _encode(subject).decode()
        return f',"subject":{quoted}' if self._json else f" by {quoted}"

    def _append(self, line: bytes) -> None:
        if len(self._lines) >= MAX_LINES:
            self.dropped += 1
        else:
            self._lines.append(line)

    def _write(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = self._lines
        out = b"".join([lines.popleft() for _ in range(len(lines))])
        while out:
            try:
                out = out[os.write(self._descriptor, out) :]
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                # The reader is gone (a closed pipe): answering goes on, the lines are lost and counted.
                self.dropped += out.count(b"\n")
                return

    def close(self) -> None:
        """Write what is left and stop."""
        self._stop.set()
        self._thread.join(timeout=5)
