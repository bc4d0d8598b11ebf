"""What the demo's steps have in common: commands as a person would type them, and HTTP."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

PENSTOCK = str(Path(sys.executable).with_name("penstock"))
# They know no home, or are told it in another place.
_HOMELESS = ("pack", "inspect")
_GROUPS = ("audit", "log", "keys", "rollout", "experiment")


def run(folder: Path, command: str, expect: int = 0) -> None:
    """Print a command as a person would type it, and run it; ends the demo if its exit status is not `expect`."""
    print(f"  $ penstock {command}", flush=True)
    environment = {**os.environ, "PENSTOCK_ACTOR": "demo"}
    done = subprocess.run(arguments(folder, command), cwd=folder, env=environment, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        print(f"    {line[:140]}")
    if expect:
        print(f"    {done.stderr.strip()}\n    exit status {done.returncode}")
    if done.returncode != expect:
        sys.exit(done.stderr or f"exit status {done.returncode}")


def arguments(folder: Path, command: str) -> list[str]:
    """The real argument list: the same command with its state in the demo's own folder."""
    words = shlex.split(command)
    own_home = words[0] not in _HOMELESS
    position = 2 if words[0] in _GROUPS else 1
    return [PENSTOCK, *words[:position], *(["--home", str(folder / "home")] if own_home else []), *words[position:]]


def title(text: str) -> None:
    """A heading."""
    print(f"\n{text}", flush=True)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> bytes:
    """The body of a GET."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
        return bytes(reply.read())


def post(port: int, path: str, body: bytes) -> bytes:
    """The body of the answer to a POST."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body, timeout=5) as reply:
        return bytes(reply.read())


class Up:
    """`penstock up` on free ports; `url` is the node's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.node_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.node_port}"

    def __enter__(self) -> Up:
        command = f"up --port {self.port} --node-port {self.node_port} --processes 1"
        print(f"  $ penstock {command} &")
        self.log = (self.folder / "up.log").open("w+")
        began = time.monotonic()
        self.process = subprocess.Popen(
            arguments(self.folder, command), cwd=self.folder, stdout=self.log, stderr=subprocess.STDOUT
        )
        while "logs " not in (said := (self.folder / "up.log").read_text()):
            if self.process.poll() is not None or time.monotonic() - began > 60:
                sys.exit(said)
            time.sleep(0.02)
        print("    " + said.strip().replace("\n", "\n    "))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60):
            sys.exit((self.folder / "up.log").read_text())
        self.log.close()
