"""Many nodes on one control: how long after an apply the last of them does what it says."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from verification import models
from verification.control import Callers, Fleet
from verification.finding import Check, Finding, command

WEIGHTS_S = 1.0
VERSION_S = 5.0
BACK_S = 2.0
CALLED = 4


class Plan(msgspec.Struct, frozen=True):
    """So many nodes, so many changes of the weights, and so many rollbacks."""

    nodes: int = 20
    changes: int = 10
    rollbacks: int = 5


def run(plan: Plan) -> list[Finding]:
    """Each node's own word for it, asked over HTTP; control's is not taken. Of a version, that is an answer of it."""
    with tempfile.TemporaryDirectory(prefix="penstock-fleet-") as name:
        folder = Path(name)
        bundles = [Path(models.logistic(folder, number)["uri"]) for number in (1, 2)]
        with Fleet(folder, plan.nodes) as fleet:
            for bundle in bundles:
                fleet.ask("POST", "/v1/models/m/versions", bundle.read_bytes())
            body = models.logistic_bodies()[0]
            first, second = (_seconds_to_answer(fleet, version, body) for version in ("1", "2"))
            _seconds_to_weigh(fleet, 0)
            weights = [_seconds_to_weigh(fleet, share) for share in _shares(plan.changes)]
            back = [_seconds_to_roll_back(fleet, body) for _ in range(plan.rollbacks)]
    cores = len(os.sched_getaffinity(0))
    note = f"{plan.nodes} nodes, each a process, beside control on {cores} cores; from the end of the apply"
    return [
        Finding(
            f"a new version on {plan.nodes} nodes", f"<= {VERSION_S:g} s",
            {"first_version_s": round(first, 2), "second_version_s": round(second, 2)},
            max(first, second) <= VERSION_S, command("convergence"), f"{note}; to the first answer of the version",
        ),
        Finding(
            f"other weights on {plan.nodes} nodes", f"<= {WEIGHTS_S:g} s",
            {"changes": len(weights), "worst_s": round(max(weights), 2), "best_s": round(min(weights), 2)},
            max(weights) <= WEIGHTS_S, command("convergence"), f"{note}; to the generation that the node says it obeys",
        ),
        Finding(
            f"a rollback on {plan.nodes} nodes", f"<= {BACK_S:g} s, no request lost",
            {"rollbacks": len(back), "worst_s": round(max(one.seconds for one in back), 2),
             "answered": sum(one.answered for one in back), "lost": sum(one.lost for one in back)},
            all(one.seconds <= BACK_S and not one.lost for one in back), command("convergence"),
            f"{note}; from the command to the first answer of the version before, on every node",
        ),
    ]  # fmt: skip


class _Back(NamedTuple):
    seconds: float
    answered: int
    lost: int


def _seconds_to_roll_back(fleet: Fleet, body: bytes) -> _Back:
    """From one version to the one before it, while callers ask some of the nodes all the time."""
    for version in ("1", "2"):
        _seconds_to_answer(fleet, version, body)
    with Callers(fleet.nodes[:CALLED], "m", body) as callers:
        began = time.monotonic()
        fleet.ask("POST", "/v1/endpoints/m/rollback")
        seconds = fleet.until_all_answer("m", "1", body, 60) - began
    return _Back(seconds, callers.answered, callers.lost)


def _shares(changes: int) -> list[int]:
    return [1 + 98 * number // changes for number in range(1, changes + 1)]


def _seconds_to_answer(fleet: Fleet, version: str, body: bytes) -> float:
    _, applied = fleet.apply({"version": 1, "endpoints": {"m": {"model": f"m/{version}"}}})
    return max(0.0, fleet.until_all_answer("m", version, body, 60) - applied)


def _seconds_to_weigh(fleet: Fleet, share: int) -> float:
    arms = [{"model": "m/1", "weight": 100 - share}, {"model": "m/2", "weight": share}]
    generation, applied = fleet.apply({"version": 1, "endpoints": {"m": {"arms": arms}}})
    return max(0.0, fleet.until_all_obey(generation, 60) - applied)


CHECK = Check("convergence", "20 nodes on one control", run, Plan(), Plan(nodes=3, changes=2, rollbacks=1))
