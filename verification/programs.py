"""Other people's programs that checks run: uv and pytest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from verification.finding import CannotMeasureError
from verification.store import ROOT

INSTALL_S = 1200


def uv(*words: object) -> None:
    """Run uv; raises CannotMeasureError with what it said."""
    program = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise CannotMeasureError("uv is not installed: pip install uv")
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, timeout=INSTALL_S)
    if done.returncode:
        raise CannotMeasureError(f"uv {words[0]}: {done.stderr.strip()[-600:]}")


def run_pytest(words: Sequence[str], *, count: int = 0, python: Path | None = None, limit_s: float = 1800) -> str:
    """Run pytest in the project's folder; its output. `count` is what tests read as PENSTOCK_TEST_COUNT."""
    environment = {**os.environ, **({"PENSTOCK_TEST_COUNT": str(count)} if count else {})}
    # Counts above the usual need more than the usual time for a test.
    command = [str(python or sys.executable), "-m", "pytest", "-p", "no:cacheprovider", "--timeout", "1200", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=limit_s)
    return done.stdout + done.stderr


def tally(output: str) -> dict[str, float]:
    r"""Counts and seconds in pytest's closing line; empty if there is none.

    Example:
        >>> tally("....\n3 passed, 1 skipped in 2.50s")
        {'passed': 3, 'skipped': 1, 'seconds': 2.5}
    """
    for line in reversed(output.splitlines()):
        took = re.search(r" in ([\d.]+)s", line)
        counts = re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|deselected|warnings?)", line)
        if took and (counts or "no tests ran" in line):
            return {**{what: int(number) for number, what in counts}, "seconds": float(took[1])}
    return {}


def all_passed(counts: dict[str, float]) -> bool:
    """Whether tests ran, and none of them failed."""
    return counts.get("passed", 0) > 0 and not any(counts.get(what) for what in ("failed", "error", "errors"))


def failures(output: str) -> str:
    """The names of what failed, for a note."""
    names = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    return ", ".join(names[:10]) or output.strip()[-300:]
