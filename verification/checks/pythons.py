"""The other Pythons of this machine: an environment from the lock, and the tests of what all processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from verification.finding import CannotMeasureError, Check, Finding, command, unmeasured
from verification.programs import all_passed, failures, run_pytest, tally, uv
from verification.store import ROOT

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")


class Plan(msgspec.Struct, frozen=True):
    """The folders of tests to run, and at most how many Pythons."""

    folders: tuple[str, ...] = ("core", "protocols", "bundle", "runtime", "sdk")
    most: int = len(SUPPORTED)


def run(plan: Plan) -> list[Finding]:
    """One finding for each supported Python of this machine but the one that runs this, and which are not there."""
    own = "{}.{}".format(*sys.version_info)
    found = interpreters()
    findings = [_tested(plan, version, *found[version]) for version in sorted(found.keys() - {own})[: plan.most]]
    named = {"tested": sorted(found.keys() & {f.name.removeprefix("Python ") for f in findings}), "this_one": own}
    absent = {"not_on_this_machine": [version for version in SUPPORTED if version not in found]}
    return [*findings, Finding("Pythons", "", {**named, **absent}, None, command("pythons"))]


def interpreters() -> dict[str, tuple[Path, str]]:
    """Supported Pythons on PATH and of pyenv that can make an environment: where, and the full version."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    found: dict[str, tuple[Path, str]] = {}
    for version in SUPPORTED:
        for program in (folder / f"python{version}" for folder in folders):
            # A shim stands for a version that may not be there: it must answer for itself.
            if version not in found and program.exists() and (full := _version(program)).startswith(f"{version}."):
                found[version] = (program, full)
    return found


def _version(program: Path) -> str:
    script = "import platform, venv; print(platform.python_version())"
    return subprocess.run([program, "-c", script], capture_output=True, text=True, timeout=60).stdout.strip()


def _tested(plan: Plan, version: str, program: Path, full: str) -> Finding:
    folders = [f"tests/{name}" for name in plan.folders if (ROOT / "tests" / name).is_dir()]
    name = f"Python {version}"
    with tempfile.TemporaryDirectory(prefix="penstock-python-") as folder:
        python = Path(folder) / "bin" / "python"
        try:
            uv("venv", "--python", program, "--clear", folder)
            uv("pip", "install", "--python", python, "--require-hashes", "-r", ROOT / "requirements" / "all.txt")
            uv("pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "--editable", ROOT)
        except CannotMeasureError as error:
            return unmeasured(name, "all pass", "pythons", str(error))
        output = run_pytest(folders, python=python)
    counts = tally(output)
    if not counts:
        return unmeasured(name, "all pass", "pythons", f"pytest ended without a result: {output.strip()[-300:]}")
    met = all_passed(counts)
    note = f"environment from requirements/all.txt; pytest {' '.join(folders)}"
    if not met:
        note += f"; failed: {failures(output)}"
    return Finding(name, "all pass", {**counts, "python": full}, met, command("pythons"), note)


CHECK = Check("pythons", "The tests on the other supported Pythons", run, Plan(), Plan(folders=("core",), most=1))
