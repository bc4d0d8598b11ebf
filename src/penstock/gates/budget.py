"""Latency and memory, measured here and now against what the endpoint allows.

As a node runs it: ONNX in this process, everything else in its own. The machine stands in the evidence, because the
figures are true for it alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.clock import Clock, monotonic
from penstock.core.tensors import Tensors
from penstock.core.verdicts import Finding, Verdict, overall
from penstock.gates.candidate import Candidate
from penstock.gates.plan import BudgetSettings
from penstock.runtime import golden
from penstock.runtime.load import load_model

_WARM_UP = 10
_FEWEST_RUNS = 20
_MOST_S = 10.0

Run = Callable[[Tensors], Tensors]


def check(candidate: Candidate, settings: BudgetSettings, clock: Clock = monotonic) -> Finding:
    """Fail when the median is over a limit, pass when the 99th percentile is not, inconclusive between them.

    Between them it is the tail alone that is over, and here that may be the machine's other work.
    """
    candidate.served.start()
    inputs = golden.sample_inputs(candidate.bundle)
    sizes = {"single": 1} | ({"batch": settings.rows} if candidate.bundle.manifest.batching.allowed else {})
    deadline_ms = candidate.limits.deadline_ms
    limits = {"single": settings.single_ms or deadline_ms, "batch": settings.batch_ms or deadline_ms}
    run, close = _as_a_node_runs(candidate)
    try:
        timings = {
            name: _timed(run, _repeated(candidate, inputs, rows), settings.runs, candidate, clock)
            for name, rows in sizes.items()
        }
    finally:
        close()
    found = {
        name: {**timings[name], "rows": rows, "limit_ms": limits[name], "verdict": _judge(timings[name], limits[name])}
        for name, rows in sizes.items()
    }
    memory = candidate.served.memory_bytes()
    over = bool(settings.memory_bytes and memory > settings.memory_bytes)
    verdict = overall([*(one["verdict"] for one in found.values()), "fail" if over else "pass"])
    said = [f"{one['rows']} row{'s' * (one['rows'] > 1)}: {one['median_ms']:.3g} ms, p99 {one['p99_ms']:.3g} of "
            f"{one['limit_ms']:g}" for one in found.values()]  # fmt: skip
    said.append(
        f"{memory / 2**20:.0f} MiB" + (f" of {settings.memory_bytes / 2**20:.0f}" if settings.memory_bytes else "")
    )
    evidence = {**found, "memory_bytes": memory, "memory_limit_bytes": settings.memory_bytes, "machine": machine()}
    return Finding(gate="budget", verdict=verdict, summary="; ".join(said), evidence=evidence)


def _as_a_node_runs(candidate: Candidate) -> tuple[Run, Callable[[], None]]:
    manifest = candidate.bundle.manifest
    if manifest.holds_no_code:
        # Its own process has answered its golden rows already, so it does not hang or crash here.
        model = load_model(candidate.bundle)
        return model.run, model.close
    return candidate.run, lambda: None


def _repeated(candidate: Candidate, inputs: Tensors, rows: int) -> Tensors:
    if not candidate.signature.batched:
        return inputs
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


def _timed(run: Run, inputs: Tensors, runs: int, candidate: Candidate, clock: Clock) -> dict[str, Any]:
    """Median and 99th percentile of single runs; fewer than asked for where they take long."""
    for _ in range(_WARM_UP):
        run(inputs)
    took: list[float] = []
    began = clock()
    while len(took) < runs and (len(took) < _FEWEST_RUNS or clock() - began < _MOST_S):
        candidate.left_s()
        start = clock()
        run(inputs)
        took.append((clock() - start) * 1e3)
    median, tail = np.percentile(took, [50, 99])
    return {"runs": len(took), "median_ms": float(median), "p99_ms": float(tail), "least_ms": min(took)}


def _judge(timing: dict[str, Any], limit_ms: float) -> Verdict:
    if timing["median_ms"] > limit_ms:
        return "fail"
    return "pass" if timing["p99_ms"] <= limit_ms else "inconclusive"


def machine() -> dict[str, Any]:
    """What was measured on: processor, how many, how busy, system and Python."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor()
    return {
        "processor": processor or platform.machine(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
    }
