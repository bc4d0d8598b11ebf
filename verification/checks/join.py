"""A million records and a million late outcomes joined: time, memory, nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any

import msgspec

from verification.finding import Check, Finding, command
from verification.store import ROOT

BAR_S = 60
BAR_MB = 1536


class Plan(msgspec.Struct, frozen=True):
    """How many records; as many outcomes, and a tenth of them corrected later."""

    records: int = 1_000_000


def run(plan: Plan) -> list[Finding]:
    """Segments into the table, files of outcomes taken, both joined: in a process of its own, on two cores."""
    with tempfile.TemporaryDirectory(prefix="penstock-join-") as folder:
        _joining("make", folder, plan.records)
        return findings(plan.records, msgspec.json.decode(_joining("join", folder, plan.records)))


def _joining(step: str, folder: str, records: int) -> bytes:
    words = [sys.executable, "-m", "verification.joining", step, folder, str(records)]
    return subprocess.run(words, cwd=ROOT, check=True, timeout=900, stdout=subprocess.PIPE).stdout


def findings(records: int, measured: dict[str, Any]) -> list[Finding]:
    """What is to be said of one run."""
    how = (
        f"{records} single-row records of 20 inputs are compacted to Parquet; a CSV of {records} outcomes in random "
        "order, one of corrections for every tenth and the first once more are taken and forwarded; `joined` is asked "
        "in SQL, now and as of the time before the corrections, and exported: all of it is the total, in one process "
        "on two cores at most; memory is its ru_maxrss"
    )
    corrected = len(range(0, records, 10))
    expected = {
        "rows": records, "requests": records, "labelled": records, "corrected": corrected, "as_before": records,
        "outcomes": records + corrected, "exported": records,
    }  # fmt: skip
    counts = {name: measured[name] for name in expected}
    seconds, peak_mb, again = measured["seconds"], measured["peak_mb"], command("join")
    return [
        Finding("records and outcomes joined", f"<= {BAR_S} s", seconds, seconds["total"] <= BAR_S, again, how),
        Finding("memory of the join", f"<= {BAR_MB} MB", {"peak_mb": peak_mb}, peak_mb <= BAR_MB, again, how),
        Finding("nothing lost, nothing twice", "every count is exact", counts, counts == expected, again, how),
    ]


CHECK = Check("join", "A million records and a million late outcomes joined", run, Plan(), Plan(records=20_000))
