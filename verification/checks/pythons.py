"""The other Pythons of this machine: each has an environment from the lock, and runs the whole test suite.

What is known of one is kept until all are done: a run that was ended goes on with the next one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from verification.finding import CannotMeasureError, Check, Finding, command, unmeasured
from verification.measuring import record_of
from verification.programs import all_passed, failures, run_pytest, tally, uv
from verification.store import ROOT, code_identity, forget

SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
SUITE_S = 7200


class Plan(msgspec.Struct, frozen=True):
    """The tests to run (none named: all of them, and the doctests), and at most how many Pythons."""

    tests: tuple[str, ...] = ()
    most: int = len(SUPPORTED)

    @property
    def short(self) -> bool:
        """Whether this is not the whole suite on all of them."""
        return self != Plan()


def run(plan: Plan) -> list[Finding]:
    """One finding for each supported Python of this machine but the one that runs this, and which are not there."""
    own = "{}.{}".format(*sys.version_info)
    found = interpreters()
    others = sorted(found.keys() - {own})[: plan.most]
    findings = [_once(plan, version, *found[version]) for version in others]
    for version in others:
        forget(_part(version))
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


def _part(version: str) -> str:
    return f"pythons-{version}"


def _once(plan: Plan, version: str, program: Path, full: str) -> Finding:
    """The finding of one Python; that of an earlier run which was ended before it had all of them, if it is as good."""
    record = record_of(_part(version), code_identity(), plan.short, lambda: [_tested(plan, version, program, full)])
    return record.findings[0]


def _tested(plan: Plan, version: str, program: Path, full: str) -> Finding:
    name = f"Python {version}"
    with tempfile.TemporaryDirectory(prefix="penstock-python-") as folder:
        python = Path(folder) / "bin" / "python"
        try:
            uv("venv", "--python", program, "--clear", folder)
            lock = ("--require-hashes", "-r", ROOT / "requirements" / "all.txt")
            uv("pip", "install", "--python", python, "--compile-bytecode", *lock)
            uv("pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "--editable", ROOT)
        except CannotMeasureError as error:
            return unmeasured(name, "all pass", "pythons", str(error))
        output = run_pytest(plan.tests, python=python, limit_s=SUITE_S)
    counts = tally(output)
    if not counts:
        return unmeasured(name, "all pass", "pythons", f"pytest ended without a result: {output.strip()[-300:]}")
    met = all_passed(counts)
    note = f"environment from requirements/all.txt; {' '.join(('pytest', *plan.tests))}"
    if not met:
        note += f"; failed: {failures(output)}"
    return Finding(name, "all pass", {**counts, "python": full}, met, command("pythons"), note)


CHECK = Check("pythons", "The test suite on the other supported Pythons", run, Plan(), Plan(("tests/core",), most=1))
