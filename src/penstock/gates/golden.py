"""Golden rows: whether the model, loaded here, answers what it answered when it was packed."""

from __future__ import annotations

import msgspec

from penstock.core.errors import PenstockError
from penstock.core.verdicts import Finding
from penstock.gates.candidate import Candidate
from penstock.gates.plan import GoldenSettings
from penstock.runtime import golden

# Loading failed for what this machine lacks or forbids; of the candidate itself that says nothing.
MISSING_HERE = frozenset(
    {
        "environment-missing", "environment-build-failed", "uv-missing", "module-missing", "no-worker",
        "pickle-refused", "worker-not-started", "worker-slow", "run-directory-too-long",
    }
)  # fmt: skip


def check(candidate: Candidate, settings: GoldenSettings) -> Finding:
    """Fail when the model does not load or answers otherwise; its process replays every row, alone and together."""
    try:
        cost = candidate.served.start()
    except PenstockError as error:
        verdict = "inconclusive" if error.code in MISSING_HERE else "fail"
        return Finding(gate="golden", verdict=verdict, summary=str(error), code=error.code)  # type: ignore[arg-type]
    rules = candidate.bundle.manifest.golden
    calls = golden.read(candidate.bundle.path(rules.path))
    largest = max(_difference(candidate, call) for call in calls)
    evidence = {
        "rows": rules.rows,
        "calls": len(calls),
        "deterministic": rules.deterministic,
        "synthetic": rules.synthetic,
        "largest_difference": largest,
        "rtol": rules.rtol,
        "atol": rules.atol,
        "cost": msgspec.to_builtins(cost),
    }
    what = f"{rules.rows} rows" if rules.rows else f"{len(calls)} calls"
    how = f"largest difference {largest:.2g}" if rules.deterministic else "not deterministic: only the form is compared"
    return Finding(gate="golden", verdict="pass", summary=f"{what} answered as packed, {how}", evidence=evidence)


def _difference(candidate: Candidate, call: golden.GoldenCall) -> float:
    rules = candidate.bundle.manifest.golden
    return golden.compare(call.outputs, candidate.run(call.inputs), rules.rtol, rules.atol).largest_difference
