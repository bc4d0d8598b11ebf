"""The benchmark's bars: ratios to other servers, cold start and memory, all from one run of `bench/report.py`."""

from __future__ import annotations

import subprocess
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

import msgspec

from verification.finding import Check, Finding, command, unmeasured
from verification.store import ROOT

COLD_START_S = 1.0
PSS_MB = 110
MB_PER_MIB = 2**20 / 1e6


class Plan(msgspec.Struct, frozen=True):
    """As in `make bench`."""

    rounds: int = 3
    seconds: int = 5


def run(plan: Plan) -> list[Finding]:
    """Measure, then judge what was written."""
    words = [sys.executable, "bench/report.py", "--rounds", str(plan.rounds), "--seconds", str(plan.seconds)]
    # What it says while it installs and measures is its progress, and may take half an hour.
    subprocess.run(words, cwd=ROOT, check=True, stdout=sys.stderr, timeout=3 * 3600)
    report = _report()
    findings = [_ratio(*verdict) for verdict in report.verdicts()]
    return [*findings, *_own(report.results("lr"))]


def _report() -> ModuleType:
    """The module of `make bench`: a script beside others, not a package."""
    loader = SourceFileLoader("bench_report", str(ROOT / "bench" / "report.py"))
    module = ModuleType(loader.name)
    # It finds its results by its own path.
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


def _ratio(what: str, rival: str, value: float | None, bar: float | None, met: bool | None) -> Finding:
    name = f"{what}, beside `{rival}`"
    said = f"{'<=' if 'latency' in what else '>='} {bar:g} x" if bar is not None else ""
    if value is None:
        return unmeasured(name, said, "bench", "one of the two servers did not run; see docs/benchmarks.md")
    return Finding(name, said, {"ratio": round(value, 3)}, met, command("bench"), "medians; see docs/benchmarks.md")


def _own(document: dict[str, Any]) -> list[Finding]:
    names = ("cold start to first answer, ONNX bundle", "memory of that node (PSS)")
    bars = (f"<= {COLD_START_S:g} s", f"<= {PSS_MB} MB")
    ours = next((result for result in document["results"] if result["name"] == "ours" and result.get("ok")), None)
    if ours is None:
        return [unmeasured(name, bar, "bench", "the node did not run") for name, bar in zip(names, bars, strict=True)]
    cold_s, pss_mb = ours["cold_start_s"], ours["pss_mib"] * MB_PER_MIB
    loaded_mb = (ours["pss_loaded_mib"] or 0) * MB_PER_MIB
    return [
        Finding(names[0], bars[0], {"seconds": cold_s}, cold_s <= COLD_START_S, command("bench"),
                "from the command to the first 200, byte-compiled, page cache warm"),
        Finding(names[1], bars[1], {"pss_mb": round(pss_mb, 1), "pss_after_load_mb": round(loaded_mb, 1)},
                pss_mb <= PSS_MB, command("bench"), "idle, after its first answers; after the loads for comparison"),
    ]  # fmt: skip


CHECK = Check(
    "bench", "Rates, latencies, cold start and memory beside other servers", run, Plan(), Plan(rounds=1, seconds=1)
)
