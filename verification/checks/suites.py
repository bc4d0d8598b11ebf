"""Checks that are tests already, run with larger counts than in `make test`."""

from __future__ import annotations

from functools import partial

import msgspec

from verification.finding import Check, Finding, command, unmeasured
from verification.programs import all_passed, failures, run_pytest, tally
from verification.store import ROOT


class Plan(msgspec.Struct, frozen=True):
    """Files and folders (as patterns from the project's root), pytest's -k, and PENSTOCK_TEST_COUNT."""

    name: str
    what: str
    paths: tuple[str, ...]
    count: int = 0
    only: str = ""


def run(plan: Plan) -> list[Finding]:
    """Run the tests of `plan` and read pytest's closing line."""
    bar = "all pass"
    paths = [str(path.relative_to(ROOT)) for pattern in plan.paths for path in sorted(ROOT.glob(pattern))]
    if not paths:
        return [unmeasured(plan.what, bar, plan.name, f"no such tests: {', '.join(plan.paths)}")]
    words = [*paths, "-q", *(["-k", plan.only] if plan.only else [])]
    output = run_pytest(words, count=plan.count)
    counts = tally(output)
    if not counts:
        return [unmeasured(plan.what, bar, plan.name, f"pytest ended without a result: {output.strip()[-300:]}")]
    met = all_passed(counts)
    count = f"PENSTOCK_TEST_COUNT={plan.count} " if plan.count else ""
    note = f"{count}pytest {' '.join(words)}" + ("" if met else f"; failed: {failures(output)}")
    return [Finding(plan.what, bar, counts, met, command(plan.name), note)]


def _check(name: str, what: str, *paths: str, count: int = 0, short: int = 0, only: str = "") -> Check:
    plan = partial(Plan, name, what, paths, only=only)
    return Check(name, what, run, plan(count=count), plan(count=short))


CHECKS = (
    _check("clients", "tritonclient[http], all datatypes, JSON and binary", "tests/serving/test_*triton*.py"),
    _check(
        "onnx_cases", "200 ONNX node cases packed, served and compared over the wire",
        "tests/serving/test_*onnx*.py", count=200, short=20,
    ),
    _check(
        "registry_races", "Registry: two processes, kills and full disks, on SQLite and PostgreSQL",
        "tests/registry/test_processes.py", count=60, short=5,
    ),
    _check(
        "pack_kills", "Packing: killed at any moment, full disks; hostile archives and pickles",
        "tests/pack/test_atomic.py", "tests/attacks/test_archives.py", "tests/attacks/test_pickles.py",
        count=20, short=3,
    ),
)  # fmt: skip
