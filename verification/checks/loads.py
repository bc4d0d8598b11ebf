"""Loading and unloading a version again and again gives the memory back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from verification import models
from verification.finding import Check, Finding, command
from verification.machine import Cores
from verification.node import Node
from verification.processes import memory_mib, tree

ALLOWED = 1.10


class Plan(msgspec.Struct, frozen=True):
    """Memory is looked at after `first` cycles and after `cycles`."""

    first: int = 10
    cycles: int = 110


def run(plan: Plan) -> list[Finding]:
    """Through a real node: a document with the version, a call to it, a document without it."""
    cores = Cores()
    with tempfile.TemporaryDirectory(prefix="penstock-loads-") as name:
        folder = Path(name)
        endpoints = {"m": {"arms": [models.logistic(folder, 1)]}}
        body = models.logistic_bodies()[0]
        with Node(
            folder / "node",
            {cores.server},
        ) as node:
            memory: dict[int, tuple[float, float]] = {}
            for cycle in range(1, plan.cycles + 1):
                _cycle(node, endpoints, body)
                if cycle in (plan.first, plan.cycles):
                    memory[cycle] = memory_mib(tree(node.process.pid))
    (pss, uss), (pss_end, uss_end) = memory[plan.first], memory[plan.cycles]
    measured = {
        "pss_mib": [round(pss, 1), round(pss_end, 1)],
        "uss_mib": [round(uss, 1), round(uss_end, 1)],
        "pss_ratio": round(pss_end / pss, 3),
        "uss_ratio": round(uss_end / uss, 3),
    }
    note = (
        f"after {plan.first} and after {plan.cycles} cycles; a cycle is: load the logistic pipeline's version, one "
        "call, unload it"
    )
    met = max(pss_end / pss, uss_end / uss) <= ALLOWED
    name = "memory over 100 loads and unloads"
    return [Finding(name, "within 10 % between cycle 10 and 110", measured, met, command("loads"), note)]


def _cycle(node: Node, endpoints: dict[str, Any], body: bytes) -> None:
    generation, _ = node.publish(endpoints)
    node.until_event("routes-applied", generation=generation, problems=0)
    node.post("/v2/models/m/infer", body)
    node.publish({})
    node.until_event("version-freed", endpoint="m")


CHECK = Check("loads", "100 x load and unload of an ONNX version", run, Plan(), Plan(first=5, cycles=15))
