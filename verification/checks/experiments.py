"""Verdicts on made-up rollouts, in full counts: how often they are wrong, and what it takes to be right.

Beside them, on the same traffic, the two rules that others use: a z test at the size that was planned, and a threshold
that must be exceeded several looks in a row.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from scipy.stats import beta

from penstock.measures import asymptotic
from penstock.measures.z_test import needed, two_rates
from penstock.rollout.simulate import Simulated, Traffic, simulate
from verification.finding import Check, Finding, command

ALPHA, CONFIDENCE = 0.05, 0.99
MOST_WRONG = 0.06
# The rule of a threshold: more failures than the old version's rate and one percent, five looks in a row.
_OVER, _IN_A_ROW = 0.01, 5


class Plan(msgspec.Struct, frozen=True):
    """How many rollouts of equals, of others, and of the peeking demonstration."""

    equals: int = 2000
    others: int = 400
    peeks: int = 4000


def run(plan: Plan) -> list[Finding]:
    """Equals first, then what is there to be found, then the other rules."""
    rate = Traffic(metric="rate", baseline=0.07, effect=0.0)
    worse = msgspec.structs.replace(rate, effect=0.02)
    slow = Traffic(metric="quantile", baseline=100.0, effect=0.2, batch=1000, most_samples=60_000)
    units = Traffic(metric="rate", baseline=0.07, effect=0.0, correlated=True, batch=400, most_samples=4000)
    equal = simulate(rate, runs=plan.equals, seed=1)
    found = simulate(worse, runs=plan.others, seed=2)
    slower = simulate(slow, runs=plan.others, seed=3)
    return [
        _equals("an equal version, judged after every batch", equal),
        _equals(
            "the same, calls in units of 1 to 200 that resemble themselves", simulate(units, runs=plan.equals, seed=4)
        ),
        _equals(
            "an equal version, p99 of latency",
            simulate(msgspec.structs.replace(slow, effect=0.0), runs=plan.others, seed=5),
            judged=False,
        ),
        _found("failures 7 % -> 9 %", found, 12_000, 6000),
        _found("p99 of latency x 1.2 (lognormal, sigma 0.5)", slower, 60_000, None),
        _beside(plan, equal, found),
        _peeking(plan.peeks),
    ]


def upper(wrong: int, runs: int) -> float:
    """The one-sided upper bound of a share, exact (Clopper and Pearson 1934)."""
    return float(beta.ppf(CONFIDENCE, wrong + 1, runs - wrong)) if wrong < runs else 1.0


def _equals(name: str, found: Simulated, *, judged: bool = True) -> Finding:
    wrong = found.better + found.worse
    bound = upper(wrong, found.runs)
    measured = {"runs": found.runs, "wrong": wrong, "rate": round(wrong / found.runs, 4), "upper": round(bound, 4)}
    bar = f"99 % upper bound of wrong verdicts <= {MOST_WRONG:.0%} at a stated {ALPHA:.0%}"
    return Finding(
        name, bar if judged else "", measured, bound <= MOST_WRONG if judged else None, command("experiments")
    )


def _found(name: str, found: Simulated, most: int, median: int | None) -> Finding:
    share = found.worse / found.runs
    measured = {
        "runs": found.runs, "found": round(share, 4), "median_samples": found.median_samples,
        "p95_samples": found.p95_samples,
    }  # fmt: skip
    met = share >= 0.95 and (median is None or (found.median_samples or np.inf) <= median)
    bar = f">= 95 % within {most} an arm" + (f", median <= {median}" if median else "")
    return Finding(name, bar, measured, met, command("experiments"), "a z test of power 95 % needs 3 980 an arm")


def _beside(plan: Plan, equal: Simulated, found: Simulated) -> Finding:
    """One row a rule: how often an equal version is stopped, a worse one found, and how much traffic that takes."""
    size = needed(0.07, 0.09, ALPHA, 0.95)
    rows: dict[str, Any] = {
        "ours": _row(equal.worse + equal.better, equal.runs, found.worse, found.runs, found.median_samples),
        f"z test at {size}": _row(*_z(plan, 0.07, size), *_z(plan, 0.09, size), size),
    }
    stopped, caught = _threshold(plan, 0.07), _threshold(plan, 0.09)
    rows["threshold, 5 in a row"] = _row(
        len(stopped), plan.others, len(caught), plan.others, float(np.median(caught)) if caught else None
    )
    note = "failures 7 %: equal, and against 9 %; looks of 200 calls an arm up to 12 000"
    return Finding("beside a z test and a threshold", "", rows, None, command("experiments"), note)


def _row(wrong: int, equals: int, right: int, others: int, exposed: float | None) -> dict[str, Any]:
    return {"error_rate": round(wrong / equals, 4), "power": round(right / others, 4), "median_exposed": exposed}


def _z(plan: Plan, rate: float, size: int) -> tuple[int, int]:
    rng = np.random.default_rng(6)
    one, two = rng.binomial(size, 0.07, plan.others), rng.binomial(size, rate, plan.others)
    pairs = zip(one.tolist(), two.tolist(), strict=True)
    return sum(two_rates(pair, (size, size)) < ALPHA for pair in pairs), plan.others


def _threshold(plan: Plan, rate: float) -> list[int]:
    """After how many calls each rollout was stopped; those that went through are not in it."""
    rng = np.random.default_rng(7)
    stopped = []
    for _ in range(plan.others):
        over = rng.binomial(200, rate, 60) / 200 > 0.07 + _OVER
        runs = np.convolve(over, np.ones(_IN_A_ROW), "valid") == _IN_A_ROW
        if runs.any():
            stopped.append(int(runs.argmax() + _IN_A_ROW) * 200)
    return stopped


def _peeking(runs: int) -> Finding:
    """Thirty looks at equals with a plain z test, and with the asymptotic sequence."""
    rng, peeked, ours = np.random.default_rng(8), 0, 0
    days = range(100, 3001, 100)
    for _ in range(runs):
        one, two = np.cumsum(rng.random((2, 3000)) < 0.3, axis=1)
        sums = [(int(one[day - 1]), int(two[day - 1])) for day in days]
        peeked += any(
            two_rates(pair, (day, day), one_sided=False) < ALPHA for pair, day in zip(sums, days, strict=True)
        )
        ours += any(_differs(pair, day) for pair, day in zip(sums, days, strict=True))
    measured = {"runs": runs, "z_test": round(peeked / runs, 4), "ours": round(ours / runs, 4)}
    met = 0.26 <= peeked / runs <= 0.33 and ours / runs <= ALPHA
    return Finding("30 looks at equals", "a z test about 29 %, ours <= 5 %", measured, met, command("experiments"))


def _differs(sums: tuple[int, int], count: int) -> bool:
    arms = [asymptotic.Moments(count, one / count, one / count * (1 - one / count)) for one in sums]
    found = asymptotic.difference([(arms[0], arms[1])], ALPHA)
    return not found.low <= 0 <= found.high


CHECK = Check(
    "experiments", "Verdicts on made-up rollouts: the stated error, and the power", run, Plan(), Plan(40, 20, 200)
)
