"""Swaps of the version under load: nothing lost, and what it does to the latency of everybody else."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from verification import models
from verification.finding import Check, Finding, at_most, command, percentile
from verification.machine import Cores, stepping_aside
from verification.node import Node
from verification.paced import Answer, Paced
from verification.processes import processor_s, tree
from verification.saturating import Wrk

PATH = "/v2/models/m/infer"


class Plan(msgspec.Struct, frozen=True):
    """How many swaps, how long the latency before them is measured, and the paced load's share of the full one."""

    swaps: int = 20
    before_s: int = 5
    connections: int = 64
    share: float = 0.2


def run(plan: Plan) -> list[Finding]:
    """The same swaps at full load on a shared core, and with room for the thread that loads."""
    with tempfile.TemporaryDirectory(prefix="penstock-swap-") as name:
        folder = Path(name)
        arms = [models.logistic(folder, version) for version in (1, 2)]
        bodies = models.logistic_bodies()
        findings, full_per_s = _shared_core(plan, folder, arms, bodies)
        return [*findings, _core_free(plan, folder, arms, bodies, full_per_s)]


def _shared_core(
    plan: Plan, folder: Path, arms: list[dict[str, Any]], bodies: list[bytes]
) -> tuple[list[Finding], float]:
    cores = Cores()
    with Node(folder / "shared", {cores.server}) as node:
        _serve(node, arms[0])
        load = Wrk(f"http://127.0.0.1:{node.port}{PATH}", bodies, plan.connections, cores.load, folder)
        load.run(1)
        befores = [load.run(plan.before_s) for _ in range(3)]
        used = processor_s(tree(node.process.pid))
        with load:
            windows = _swaps(node, arms, plan.swaps)
            during = load.stop()
        used = processor_s(tree(node.process.pid)) - used
        lost = node.lost()
    took = [freed - published for published, freed in windows]
    how = (
        f"{plan.swaps} swaps, one after the other, at full load: single-row JSON, wrk, {plan.connections} "
        "connections; node, its loading thread included, on one core, load on another; a swap is from publishing "
        "the document to the version-freed line of the old version"
    )
    everything = (*befores, during)
    errors = sum(seen["errors"] for seen in everything)
    counted = {
        "lost": lost, "client_errors": errors, "answers": sum(seen["answers"] for seen in everything),
        "swap_s": {"p50": round(percentile(took, 0.5), 3), "max": round(max(took), 3)},
    }  # fmt: skip
    bases = [seen["p99_ms"] for seen in befores]
    measured = {
        "ratio": round(during["p99_ms"] / percentile(bases, 0.5), 2), "p99_before_ms": bases, "during": during,
        "before_per_s": befores[-1]["answers_per_s"],
        "node_processor": round(used / (windows[-1][1] - windows[0][0]), 2),
    }  # fmt: skip
    names = (f"{plan.swaps} swaps at full load", "p99 during swaps, loading shares the core")
    return [
        Finding(names[0], "0 lost, 0 errors", counted, lost == errors == 0, command("swap"), how),
        Finding(names[1], "<= 3 x before", measured, at_most(during["p99_ms"], 3, bases), command("swap"), how),
    ], befores[-1]["answers_per_s"]


def _core_free(plan: Plan, folder: Path, arms: list[dict[str, Any]], bodies: list[bytes], full_per_s: float) -> Finding:
    cores = Cores()
    rate = max(50.0, plan.share * full_per_s)
    free = cores.load if cores.free is None else cores.free
    with Node(folder / "free", {cores.server, free}) as node:
        _serve(node, arms[0])
        with Paced(node.port, PATH, bodies[0], rate, cores.load, folder) as load:
            # The client starts within the first second; then three measurements of the latency before.
            began = time.time() + 1
            time.sleep(3 * plan.before_s + 1)
            windows = _swaps(node, arms, plan.swaps)
            answers = load.stop()
        lost = node.lost()
    starts = [began + turn * plan.before_s for turn in range(3)]
    befores = [_between(answers, [(start, start + plan.before_s)]) for start in starts]
    during = _between(answers, windows)
    bases = [percentile(seconds, 0.99) for seconds in befores]
    p99 = percentile(during, 0.99)
    errors = sum(answer.status != 200 for answer in answers)
    measured = {
        "ratio": round(p99 / percentile(bases, 0.5), 2), "p99_before_ms": [round(1e3 * base, 3) for base in bases],
        "p99_during_ms": round(1e3 * p99, 3), "requests_per_s": round(rate), "requests_during": len(during),
        "lost": lost, "client_errors": errors,
    }  # fmt: skip
    where = "one that nothing else uses" if cores.free is not None else "the client's, which is idle most of the time"
    note = (
        f"open loop at {plan.share:g} of the full rate, which leaves room; the node may use its own core and {where}; "
        "latencies of requests that were due between publishing and the old version's end"
    )
    met = False if errors or lost else at_most(p99, 1.5, bases)
    return Finding("p99 during swaps, a core free", "<= 1.5 x before", measured, met, command("swap"), note)


def _serve(node: Node, arm: dict[str, Any]) -> None:
    generation, _ = node.publish({"m": {"arms": [arm]}})
    node.until_event("routes-applied", generation=generation, problems=0)


def _swaps(node: Node, arms: list[dict[str, Any]], count: int) -> list[tuple[float, float]]:
    """Swap to and fro; (published, freed) of each, in seconds since the epoch."""
    windows = []
    with stepping_aside():
        for turn in range(count):
            old, new = arms[turn % 2], arms[(turn + 1) % 2]
            _, published = node.publish({"m": {"arms": [new]}})
            windows.append((published, node.until_event("version-freed", version=old["version"])))
    return windows


def _between(answers: list[Answer], windows: list[tuple[float, float]]) -> list[float]:
    """Seconds of the requests that were due in one of the windows."""
    return [a.seconds for a in answers if any(start <= a.due <= end for start, end in windows)]


CHECK = Check("swap", "Swaps of the version under load", run, Plan(), Plan(swaps=4, before_s=3))
