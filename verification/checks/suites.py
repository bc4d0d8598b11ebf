"""Checks that are tests already, run with larger counts than in `make test`."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import msgspec

from verification.finding import Check, Finding, command, unmeasured
from verification.programs import all_passed, failures, run_pytest, tally
from verification.store import ROOT

COUNT = "PENSTOCK_TEST_COUNT"


class Plan(msgspec.Struct, frozen=True):
    """Files as patterns from the project's root, of which those count that match `holding`; and the tests' count."""

    name: str
    what: str
    patterns: tuple[str, ...]
    holding: str = ""
    count: int = 0


def run(plan: Plan) -> list[Finding]:
    """Run the tests of `plan` and read pytest's closing line."""
    bar = "all pass"
    files = [path for pattern in plan.patterns for path in sorted(ROOT.glob(pattern)) if _holds(path, plan.holding)]
    if not files:
        return [unmeasured(plan.what, bar, plan.name, f"no such tests under {', '.join(plan.patterns)}")]
    # A count that the tests do not read must not be claimed.
    counted = plan.count if any(_holds(path, COUNT) for file in files for path in file.parent.glob("*.py")) else 0
    words = [str(path.relative_to(ROOT)) for path in files]
    output = run_pytest(words, count=counted)
    counts = tally(output)
    if not counts:
        return [unmeasured(plan.what, bar, plan.name, f"pytest ended without a result: {output.strip()[-300:]}")]
    met = all_passed(counts)
    measured = {**({"count": counted} if counted else {}), **counts}
    note = f"{f'{COUNT}={counted} ' if counted else ''}pytest {' '.join(words)}"
    return [
        Finding(
            plan.what, bar, measured, met, command(plan.name), note if met else f"{note}; failed: {failures(output)}"
        )
    ]


def _holds(path: Path, pattern: str) -> bool:
    return re.search(pattern, path.read_text()) is not None


def _check(name: str, what: str, *patterns: str, holding: str = "", count: int = 0, short: int = 0) -> Check:
    plan = partial(Plan, name, what, patterns, holding)
    return Check(name, what, run, plan(count), plan(short))


CHECKS = (
    _check(
        "clients", "tritonclient[http], all datatypes, JSON and binary",
        "tests/serving/test_*.py", holding="import tritonclient|from tritonclient",
    ),
    _check(
        "onnx_cases", "200 ONNX node cases packed, served and compared over the wire",
        "tests/serving/test_*.py", holding=r"onnx\.backend|(node|onnx)_cases", count=200, short=20,
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
    _check(
        "recording_kills", "Prediction log: a node killed at any moment loses nothing that is older than its flush",
        "tests/serving/test_recording.py", count=50, short=2,
    ),
    _check(
        "control_kills", "Control: killed at any moment of its work, on SQLite and PostgreSQL; answers never stop",
        "tests/api/test_kills.py", count=50, short=1,
    ),
    _check(
        "api_fuzz", "Control's API: whatever its OpenAPI allows, from every role; no 5xx, nothing forbidden succeeds",
        "tests/api/test_schema.py", count=12, short=2,
    ),
    _check(
        "returning_units", "2 000 equal canaries whose customers come back in every step: the stated error holds",
        "tests/rollout/test_growth.py", count=2000, short=20,
    ),
    _check(
        "rollout_kills", "Rollouts: control killed after every step, on SQLite and PostgreSQL; no step lost or twice",
        "tests/api/test_rollout_kills.py", count=10, short=1,
    ),
)  # fmt: skip
