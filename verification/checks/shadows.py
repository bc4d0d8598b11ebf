"""What a shadow of every request costs those who are answered: at half load, at full load, and when it breaks."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from verification import models
from verification.finding import Check, Finding, command
from verification.machine import Cores
from verification.node import Node, until
from verification.processes import tree
from verification.saturating import Wrk

PAUSE_MS = 10
URL = "/v2/models/m/infer"


class Plan(msgspec.Struct, frozen=True):
    """Rounds of a load without and with the shadow, seconds of each, and how often the shadow's process is harmed."""

    rounds: int = 8
    seconds: int = 5
    harms: int = 20


class _Loads:
    """One node whose endpoint has a shadow or not, and what is sent to it."""

    def __init__(self, node: Node, folder: Path, cores: Cores) -> None:
        self.node = node
        self._folder = folder
        self._core = cores.load
        self._arm = models.logistic(folder, 1)
        self._bodies = models.logistic_bodies()
        next_version = models.logistic(folder, 2)
        self.next = {key: next_version[key] for key in ("version", "bundle", "uri")} | {"name": "next"}

    def serve(self, *shadows: dict[str, Any]) -> None:
        """Serve with these shadows, loaded."""
        generation, _ = self.node.publish({"m": {"arms": [self._arm], "shadows": list(shadows)}})
        self.node.until_event("routes-applied", generation=generation, problems=0)
        for _ in shadows:
            self.node.until_event("shadow-loaded")

    def wrk(self, connections: int = 64, pause_ms: int = 0) -> Wrk:
        url = f"http://127.0.0.1:{self.node.port}{URL}"
        return Wrk(url, self._bodies, connections, self._core, self._folder, pause_ms)

    def counts(self) -> tuple[int, int]:
        """Copies run and dropped so far."""
        page = self.node.get("/metrics").decode()
        ran, dropped = (
            sum(
                float(value) for value in re.findall(rf"^penstock_shadow_{name}_total{{.*}} (\S+)$", page, re.MULTILINE)
            )
            for name in ("calls", "dropped")
        )
        return int(ran), int(dropped)

    def alternating(self, rounds: int, seconds: int, wrk: Wrk) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What `wrk` saw without and with the shadow, in turn: what else the machine does hits both alike."""
        without, with_shadow = [], []
        for _ in range(rounds):
            self.serve()
            without.append(wrk.run(seconds))
            self.serve(self.next)
            before = self.counts()
            seen = wrk.run(seconds)
            ran, dropped = (now - then for now, then in zip(self.counts(), before, strict=True))
            with_shadow.append(seen | {"shadow_calls": ran, "shadow_dropped": dropped})
        return without, with_shadow


def run(plan: Plan) -> list[Finding]:
    """Each load on one node, on one core; the load on another."""
    with tempfile.TemporaryDirectory(prefix="penstock-shadows-") as name:
        folder, cores = Path(name), Cores()
        with Node(folder / "node", {cores.server}) as node:
            loads = _Loads(node, folder, cores)
            loads.serve()
            capacity = loads.wrk().run(plan.seconds)["answers_per_s"]
            return [_half(loads, plan, capacity), _full(loads, plan), *_harmed(loads, plan, capacity, folder)]


def _half(loads: _Loads, plan: Plan, capacity: int) -> Finding:
    without, with_shadow = loads.alternating(plan.rounds, plan.seconds, _half_load(loads, capacity))
    ratios = [b["p99_ms"] / a["p99_ms"] for a, b in zip(without, with_shadow, strict=True)]
    ratio = statistics.median(ratios)
    measured: dict[str, Any] = {
        "ratio": round(ratio, 2), "ratios": [round(one, 2) for one in ratios], "capacity_per_s": capacity,
        "without": _seen(without), "with": _seen(with_shadow) | _copies(with_shadow),
    }  # fmt: skip
    errors = sum(one["errors"] for one in without + with_shadow)
    met: bool | None = ratio <= 1.2 and not errors
    if measured["without"]["answers_per_s"] < 0.4 * capacity:
        # The machine does other things: that was no half load, and its p99 is theirs.
        met = None
    note = (
        f"{plan.rounds} rounds of {plan.seconds} s each without and with a shadow of every request (another version of "
        "the logistic pipeline), recorded; single-row JSON, wrk with pauses; the median of the rounds' ratios"
    )
    return Finding("shadow at half load: p99", "<= 1.2 x the p99 without it", measured, met,
                   command("shadows"), note)  # fmt: skip


def _full(loads: _Loads, plan: Plan) -> Finding:
    without, with_shadow = loads.alternating(plan.rounds, plan.seconds, loads.wrk())
    ratios = [b["answers_per_s"] / a["answers_per_s"] for a, b in zip(without, with_shadow, strict=True)]
    ratio, dropped = statistics.median(ratios), sum(one["shadow_dropped"] for one in with_shadow)
    measured = {
        "ratio": round(ratio, 3), "ratios": [round(one, 3) for one in ratios],
        "without": _seen(without), "with": _seen(with_shadow) | _copies(with_shadow),
    }  # fmt: skip
    errors = sum(one["errors"] for one in without + with_shadow)
    note = f"as above, without pauses: 64 connections, {plan.rounds} rounds"
    return Finding("shadow at full load: answers per second", ">= 0.9 x without it, copies dropped", measured,
                   ratio >= 0.9 and dropped > 0 and not errors, command("shadows"), note)  # fmt: skip


def _harmed(loads: _Loads, plan: Plan, capacity: int, folder: Path) -> list[Finding]:
    """Kill the shadow's process again and again, then make it hang, while the primary answers."""
    mean = models.mean(folder)
    loads.serve({key: mean[key] for key in ("version", "bundle", "uri")} | {"name": "mean"})
    findings = []
    for what, harm in (("crashes", signal.SIGKILL), ("hangs", signal.SIGSTOP)):
        harmed = 0
        with _half_load(loads, capacity) as load:
            for _ in range(plan.harms):
                worker = until(lambda: _worker(loads.node), 60, "the shadow's process")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, harm)
                    harmed += 1
                time.sleep(0.25)
                if harm == signal.SIGSTOP:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGCONT)
            seen = load.stop()
        measured = {"errors": seen["errors"], "answers": seen["answers"], "p99_ms": seen["p99_ms"], "harmed": harmed}
        findings.append(
            Finding(f"shadow {what}: errors of the primary", "0", measured, not seen["errors"] and harmed > 0,
                    command("shadows"), f"a Python model in a process of its own; {harm.name} to it {plan.harms} times")
        )  # fmt: skip
    return findings


def _worker(node: Node) -> int | None:
    for process in tree(node.process.pid):
        with contextlib.suppress(OSError):
            if b"penstock.runtime.worker" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
    return None


def _half_load(loads: _Loads, capacity: int) -> Wrk:
    # Each connection asks once in a pause; an answer takes little beside it.
    return loads.wrk(max(1, round(capacity / 2 * PAUSE_MS / 1e3)), PAUSE_MS)


def _seen(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "answers_per_s": round(statistics.median(one["answers_per_s"] for one in rounds)),
        "p99_ms": round(statistics.median(one["p99_ms"] for one in rounds), 3),
        "errors": sum(one["errors"] for one in rounds),
    }


def _copies(rounds: list[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(one[name] for one in rounds) for name in ("shadow_calls", "shadow_dropped")}


CHECK = Check(
    "shadows",
    "A shadow of every request: its cost at half load and at full load, and when it breaks",
    run,
    Plan(),
    Plan(rounds=2, seconds=2, harms=3),
)
