"""Registers bundles in processes that are killed on the way: `killed.py URL ARTIFACTS BUNDLES COUNT SEED`.

Every second one kills itself at a line of Python chosen by chance; the others are killed from outside at a moment
chosen by chance, which also falls between two lines. Prints how many were killed before they had finished.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from penstock.registry.registry import Registry
from penstock.storage.folder import Folder

TRACED = ("penstock", "zipfile", "tempfile", "shutil", "pathlib")


def register(url: str, artifacts: str, path: Path) -> None:
    with Registry.open(url, Folder(Path(artifacts)), actor="killed") as registry:
        registry.register(path, name="m", alias="live", tags={"a": "b"})


def trace_lines(kill_at: int) -> list[int]:
    """Count the lines that run from here on in our code and the files it uses, and die at the given one."""
    count = [0]

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in TRACED):
            return None
        count[0] += event == "line"
        if count[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return on_line

    sys.settrace(on_line)
    return count


def main() -> None:
    url, artifacts, bundles, count, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    first, *paths = sorted(Path(bundles).iterdir())
    started = time.perf_counter()
    lines = trace_lines(-1)
    register(url, artifacts, first)
    sys.settrace(None)
    took = time.perf_counter() - started
    killed = 0
    for index in range(int(count)):
        pid = os.fork()
        if pid == 0:
            if index % 2:
                trace_lines(chance.randrange(lines[0]))
            register(url, artifacts, paths[index])
            os._exit(0)
        if index % 2 == 0:
            # The pause is the experiment, not a wait for something to be ready.
            time.sleep(chance.uniform(0, took))
            os.kill(pid, signal.SIGKILL)
        else:
            chance.randrange(lines[0])
        killed += os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    print(killed)


if __name__ == "__main__":
    main()
