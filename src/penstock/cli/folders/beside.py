"""Keeping the watching process alive as long as the node runs."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from penstock.cli.folders.watch import ROUTES, Watching
from penstock.serving.again import pause_s
from penstock.serving.held_back import FILE

_FOLDERS = "folders.json"
_PATIENCE_S = 10.0


@contextlib.contextmanager
def watching_beside(watching: Watching) -> Iterator[None]:
    """Watch in a process of its own, started again if it ends; entered when the node's lock is held."""
    _forget_others(watching)
    keeper = _Keeper(msgspec.json.encode(watching).decode())
    try:
        yield
    finally:
        keeper.close()


def _forget_others(watching: Watching) -> None:
    """Without what was served from other folders: a node begins with its last good routes."""
    state, told = Path(watching.state), msgspec.json.encode([(one.name, one.base_path) for one in watching.models])
    noted = state / _FOLDERS
    if not noted.is_file() or noted.read_bytes() != told:
        for name in (ROUTES, "routes.json", FILE):
            (state / name).unlink(missing_ok=True)
        noted.write_bytes(told)


class _Keeper:
    """Starts the process, and starts it again when it ends unasked."""

    def __init__(self, settings: str) -> None:
        self._command = [sys.executable, "-m", "penstock.cli.folders", settings]
        self._closing = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, name="folders", daemon=True)
        self._thread.start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE)

    def _keep(self) -> None:
        failures = 0
        while True:
            self._process.wait()
            failures += 1
            if self._closing.wait(pause_s(failures)):
                return
            self._process = self._start()

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self._closing.set()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
