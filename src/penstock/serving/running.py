"""Who runs a node: the lock that lets one process do it, and a file that says which."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from penstock.core.errors import Conflict
from penstock.core.version import __version__
from penstock.serving.settings import NodeSettings, address_of

_ATTEMPTS = 10
_PAUSE_S = 0.05


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The process that runs a node, and what it was told."""

    pid: int
    host: str
    port: int
    control: str = ""
    version: str = ""
    tls: bool = False
    grpc_port: int = 0

    @property
    def address(self) -> str:
        """Where the node answers."""
        return address_of(self.host, self.port, tls=self.tls)


@contextmanager
def only_one(state: Path, name: str) -> Iterator[None]:
    """Hold the node's lock; raises Conflict (`node-running`) while another process has it."""
    with (state / "lock").open("w") as lock:
        if not _locked_soon(lock):
            # A second one would take over the first one's counters and model processes.
            raise Conflict(
                "node-running", f"a node named {name!r} is running", hint="stop it, or give this one a --name"
            )
        yield


def write_running(settings: NodeSettings) -> None:
    """Say which process runs this node; only the holder of its lock does."""
    control = settings.following.control if settings.following is not None else ""
    running = Running(
        pid=os.getpid(), host=settings.host, port=settings.port, control=control, version=__version__,
        tls=settings.tls is not None, grpc_port=settings.grpc_port,
    )  # fmt: skip
    partial = settings.state / "running.partial"
    partial.write_bytes(msgspec.json.encode(running))
    partial.replace(settings.state / "running.json")


def find_running(state: Path) -> Running | None:
    """The process that runs the node now, if one does."""
    try:
        with (state / "lock").open("r+") as lock:
            if _locked(lock):
                return None
        return msgspec.json.decode((state / "running.json").read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _locked_soon(lock: IO[str]) -> bool:
    # More than one attempt: whoever looks whether a node runs has the lock for a moment.
    for _ in range(_ATTEMPTS):
        if _locked(lock):
            return True
        time.sleep(_PAUSE_S)
    return False


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
