"""The other Pythons of this machine: an environment from the lock, and the tests of what all processes share."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from verification.finding import Check, Finding, command, unmeasured
from verification.programs import all_passed, failures, run_pytest, tally, uv
from verification.store import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


class Plan(msgspec.Struct, frozen=True):
    """The folders of tests to run, and at most how many Pythons."""

    folders: tuple[str, ...] = ("core", "protocols", "bundle", "runtime", "sdk")
    most: int = len(SUPPORTED)


def run(plan: Plan) -> list[Finding]:
    """One finding for each supported Python but the one that runs this."""
    own = "{}.{}".format(*sys.version_info)
    others = [version for version in SUPPORTED if version != own]
    found = interpreters()
    tested = [version for version in others if version in found][: plan.most]
    return [
        _one(plan, version, found[version])
        if version in tested
        else unmeasured(
            f"Python {version}", "all pass", "pythons", "not on this machine" if version not in found else "left out"
        )
        for version in others
    ]


def interpreters() -> dict[str, Path]:
    """Supported Pythons by version: those on PATH and those of pyenv that can make an environment."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found: dict[str, Path] = {}
    for version in SUPPORTED:
        for program in (folder / f"python{version}" for folder in folders):
            # A shim stands for a version that may not be there: it must answer for itself.
            if version not in found and program.exists() and _version(program) == version:
                found[version] = program
    return found


def _version(program: Path) -> str:
    done = subprocess.run(
        [program, "-c", "import venv; print(__import__('sys').version)"], capture_output=True, text=True
    )
    match = re.match(r"3\.\d+", done.stdout)
    return match[0] if match and done.returncode == 0 else ""


def _one(plan: Plan, version: str, program: Path) -> Finding:
    folders = [f"tests/{name}" for name in plan.folders if (ROOT / "tests" / name).is_dir()]
    with tempfile.TemporaryDirectory(prefix="penstock-python-") as folder:
        python = Path(folder) / "bin" / "python"
        uv("venv", "--python", program, "--clear", folder)
        uv("pip", "install", "--python", python, "--require-hashes", "-r", ROOT / "requirements" / "all.txt")
        uv("pip", "install", "--python", python, "--no-deps", "--no-build-isolation", ROOT)
        output = run_pytest([*folders, "-x"], python=python)
    counts = tally(output)
    met = all_passed(counts)
    note = f"environment from requirements/all.txt; pytest {' '.join(folders)} -x"
    measured = {**counts, "python": _full(program)} if counts else {}
    return Finding(f"Python {version}", "all pass", measured, met if counts else None, command("pythons"),
                   note if met else f"{note}; failed: {failures(output)}")  # fmt: skip


def _full(program: Path) -> str:
    done = subprocess.run(
        [program, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True
    )
    return done.stdout.strip()


CHECK = Check("pythons", "The tests on the other supported Pythons", run, Plan(), Plan(folders=("core",), most=1))
