"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Processor, cores, memory, kernel and Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


@contextmanager
def stepping_aside() -> Iterator[None]:
    """Let this process run only when a core has nothing else to do.

    It reads the node's log while it waits, a hundred thousand lines a second: both the node and the client would feel
    that, and it would pass for the cost of what is measured.
    """
    if sys.platform != "linux":
        yield
        return
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class Cores:
    """Which cores the server and the load are bound to; more than two leave one free for loading a version."""

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0))
        self.server = usable[0]
        self.load = usable[1] if len(usable) > 1 else usable[0]
        self.free = usable[2] if len(usable) > 2 else None
