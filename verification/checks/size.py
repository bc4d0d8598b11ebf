"""What an installation weighs, without byte-code."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import msgspec

from verification.finding import Check, Finding, command
from verification.programs import uv
from verification.store import ROOT


class Plan(msgspec.Struct, frozen=True):
    """(extras, bar in MB) of each installation."""

    installations: tuple[tuple[str, float], ...] = (("", 170), ("[pack,control]", 560))


def run(plan: Plan) -> list[Finding]:
    """Build the wheel, install it with each set of extras, and weigh the folders."""
    with tempfile.TemporaryDirectory(prefix="penstock-size-") as folder:
        wheel = build_wheel(Path(folder))
        return [_installation(Path(folder), wheel, extras, bar) for extras, bar in plan.installations]


def build_wheel(folder: Path) -> Path:
    """The project's wheel, built by the back end itself, which needs no network."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return next(folder.glob("*.whl"))


def _installation(folder: Path, wheel: Path, extras: str, bar_mb: float) -> Finding:
    environment = folder / f"environment{extras.strip('[]').replace(',', '-')}"
    python = environment / "bin" / "python"
    uv("venv", "--python", sys.executable, environment)
    # Constrained to the lock: another release of a dependency would be another measurement.
    uv("pip", "install", "--python", python, "-c", ROOT / "requirements" / "all.txt", f"{wheel}{extras}")
    size, allocated, parts = weigh(environment)
    name = f"penstock{extras}"
    measured = {
        "size_mb": round(size / 1e6, 1),
        "allocated_mb": round(allocated / 1e6, 1),
        "largest_mb": {part: round(count / 1e6, 1) for part, count in parts.most_common(10)},
    }
    note = "file sizes summed; allocated: blocks of the file system; compiled byte-code left out, in both"
    return Finding(
        f"installed size of {name}", f"<= {bar_mb:g} MB", measured, size <= bar_mb * 1e6, command("size"), note
    )


def weigh(root: Path) -> tuple[int, int, Counter[str]]:
    """(bytes, bytes allocated, bytes by part) of a virtual environment without byte-code."""
    size = allocated = 0
    parts: Counter[str] = Counter()
    seen: set[int] = set()
    packages = next(root.glob("lib/python3*/site-packages"))
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file() or path.suffix == ".pyc":
            continue
        found = path.stat()
        if found.st_ino in seen:
            continue
        seen.add(found.st_ino)
        size += found.st_size
        allocated += found.st_blocks * 512
        inside = path.relative_to(packages if path.is_relative_to(packages) else root).parts
        parts[inside[0] if path.is_relative_to(packages) else "/".join(inside[:2])] += found.st_size
    return size, allocated, parts


CHECK = Check("size", "Installed size without byte-code", run, Plan(), Plan())
