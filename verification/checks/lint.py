"""`make lint`: format, style, types and the ladder of packages."""

from __future__ import annotations

import subprocess

from verification.finding import Check, Finding, command
from verification.store import ROOT


def run(_: None) -> list[Finding]:
    """Run it in the environment as it is: `-o install` keeps make from building another one."""
    words = ["make", "-o", "install", "lint"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and not line.startswith("make")]
    measured = {"status": done.returncode, "last_line": said[-1][:200] if said else ""}
    return [Finding("make lint", "status 0", measured, done.returncode == 0, command("lint"))]


CHECK = Check("lint", "Format, style, types, and the ladder of packages", run, None, None)
