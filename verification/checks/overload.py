"""More than a node can answer: what it refuses, what it keeps, what that costs; and many connections."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec

from verification import models
from verification.finding import Check, Finding, at_most, command, percentile
from verification.machine import Cores
from verification.node import Node
from verification.paced import Answer, Paced
from verification.processes import memory_mib, tree
from verification.saturating import Wrk

REFUSED = 429
ROW_S = 0.005


class Plan(msgspec.Struct, frozen=True):
    """Seconds of each load, the endpoint's deadline, and how many times its capacity is asked for."""

    overload_s: float = 15
    times: float = 3
    deadline_ms: float = 1000
    flood_s: int = 5


def run(plan: Plan) -> list[Finding]:
    """Both loads, on nodes of their own."""
    with tempfile.TemporaryDirectory(prefix="penstock-overload-") as folder:
        return [*_slow_model(plan, Path(folder)), _many_connections(plan, Path(folder))]


def _slow_model(plan: Plan, folder: Path) -> list[Finding]:
    cores = Cores()
    arm = models.slow(folder)
    body = models.infer_body("FP32", [1, 2, 3, 4])
    with Node(folder / "slow-node", {cores.server}) as node:
        generation, _ = node.publish({"m": {"arms": [arm], "limits": {"deadline_ms": plan.deadline_ms}}})
        node.until_event("routes-applied", generation=generation, problems=0)
        node.post("/v2/models/m/infer", body)
        with Paced(node.port, "/v2/models/m/infer", body, plan.times / ROW_S, cores.load, folder) as load:
            pss = _watch_memory(node, plan.overload_s)
            answers = load.stop()
    return [*_judge_answers(plan, answers), _judge_memory(pss)]


def _watch_memory(node: Node, seconds: float) -> list[float]:
    """PSS of the node and its workers every half second; an open loop must be looked at while it lasts."""
    pss: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pss.append(memory_mib(tree(node.process.pid))[0])
        time.sleep(min(0.5, max(0.0, end - time.monotonic())))
    return pss


def _judge_answers(plan: Plan, answers: list[Answer]) -> list[Finding]:
    statuses = Counter(answer.status for answer in answers)
    accepted = [1e3 * answer.seconds for answer in answers if answer.status != REFUSED]
    refused = [1e3 * answer.seconds for answer in answers if answer.status == REFUSED]
    p99_ms, refused_p99_ms = percentile(accepted, 0.99), percentile(refused, 0.99)
    end = min(answer.due for answer in answers) + plan.overload_s
    good_per_s = sum(a.status == 200 and a.due + a.seconds <= end for a in answers) / plan.overload_s
    how = (
        f"open loop at {plan.times:g} x 200 rows/s for {plan.overload_s:g} s, one row a request, one model "
        f"process that is busy for 5 ms a row, on the node's own core, deadline {plan.deadline_ms:g} ms; "
        "latencies count from when a request was due; accepted is all that was not refused with 429"
    )
    return [
        Finding(
            "overload: p99 of accepted calls", f"<= deadline ({plan.deadline_ms:g} ms)",
            {"p99_ms": round(p99_ms, 1), "accepted": len(accepted), "answered_200_per_s": round(good_per_s)},
            p99_ms <= plan.deadline_ms, command("overload"), how,
        ),
        Finding(
            "overload: p99 of refusals", "429 in < 10 ms, and no other failure than past its deadline",
            {"p99_ms": round(refused_p99_ms, 2), "statuses": {str(k): v for k, v in sorted(statuses.items())}},
            refused_p99_ms < 10 and set(statuses) <= {200, REFUSED, 504}, command("overload"), how,
        ),
    ]  # fmt: skip


def _judge_memory(pss: list[float]) -> Finding:
    third = len(pss) // 3
    first, last = (sum(part) / len(part) for part in (pss[:third], pss[-third:]))
    measured = {
        "pss_first_third_mib": round(first, 1),
        "pss_last_third_mib": round(last, 1),
        "ratio": round(last / first, 3),
    }
    note = "node and model process together, means over the first and the last third of the overload"
    return Finding(
        "overload: memory", "flat: last third <= 1.10 x first", measured, last <= 1.1 * first, command("overload"), note
    )


def _many_connections(plan: Plan, folder: Path) -> Finding:
    cores = Cores()
    arm = models.logistic(folder, 1)
    bodies = models.logistic_bodies()
    with Node(folder / "fast-node", {cores.server}) as node:
        generation, _ = node.publish({"m": {"arms": [arm]}})
        node.until_event("routes-applied", generation=generation, problems=0)
        url = f"http://127.0.0.1:{node.port}/v2/models/m/infer"
        Wrk(url, bodies, 64, cores.load, folder).run(1)
        # The smaller load on both sides of the larger one: a machine that is not quiet shows in their difference.
        few, many, again = (Wrk(url, bodies, count, cores.load, folder).run(plan.flood_s) for count in (64, 512, 64))
    bases = (few["p99_ms"], again["p99_ms"])
    ratio = 2 * many["p99_ms"] / sum(bases)
    measured = {"ratio": round(ratio, 2), "at_64": few, "at_512": many, "at_64_again": again}
    note = f"single-row JSON to the logistic pipeline, wrk, {plan.flood_s} s each, node on one core, load on another"
    met = False if many["errors"] else at_most(many["p99_ms"], 10, bases)
    return Finding("p99 at 512 connections against 64", "<= 10 x, no errors", measured, met, command("overload"), note)


CHECK = Check(
    "overload",
    "3 x overload of a slow model; 512 connections to a fast one",
    run,
    Plan(),
    Plan(overload_s=5, flood_s=2),
)
