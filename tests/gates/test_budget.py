"""Latency and memory against limits; the machine's speed decides no test, since a clock is passed in."""

import itertools

import pytest

from penstock.core.routes import Limits
from penstock.gates import budget
from penstock.gates.plan import BudgetSettings

GENEROUS = BudgetSettings(single_ms=1e9, batch_ms=1e9)


def ticking(*steps):
    """A clock that advances by these steps in turn, each time it is read."""
    now, endless = [0.0], itertools.cycle(steps)

    def clock():
        now[0] += next(endless)
        return now[0]

    return clock


def test_a_generous_budget_passes_and_the_evidence_has_the_machine(candidate, champion):
    found = budget.check(candidate(champion), GENEROUS)
    assert found.verdict == "pass"
    assert (found.evidence["single"]["rows"], found.evidence["batch"]["rows"]) == (1, 64)
    assert found.evidence["memory_bytes"] > 0
    assert {"processor", "processors", "load", "system", "python"} == set(found.evidence["machine"])


def test_an_impossible_budget_fails(candidate, champion):
    found = budget.check(candidate(champion), BudgetSettings(single_ms=1e-9))
    assert found.verdict == "fail"
    assert found.evidence["batch"]["verdict"] == "pass"


def test_without_a_budget_the_endpoint_s_deadline_holds(candidate, champion):
    assert budget.check(candidate(champion, limits=Limits(deadline_ms=1e-9)), BudgetSettings()).verdict == "fail"
    assert budget.check(candidate(champion, limits=Limits(deadline_ms=1e9)), BudgetSettings()).verdict == "pass"


def test_a_tail_over_the_limit_is_inconclusive():
    assert budget._judge({"median_ms": 1.0, "p99_ms": 9.0}, 5.0) == "inconclusive"
    assert budget._judge({"median_ms": 6.0, "p99_ms": 9.0}, 5.0) == "fail"
    assert budget._judge({"median_ms": 1.0, "p99_ms": 5.0}, 5.0) == "pass"


def test_what_is_timed_is_the_run_and_nothing_else(candidate, champion):
    # The clock is read when the loop goes on (0.5 s), before a run (0.25 s) and after it (0.125 s).
    found = budget.check(candidate(champion), GENEROUS, clock=ticking(0.25, 0.25, 0.25))
    assert found.evidence["single"]["median_ms"] == pytest.approx(250)


def test_a_slow_model_is_not_run_as_often_as_asked_for(candidate, champion):
    found = budget.check(candidate(champion), GENEROUS, clock=ticking(3.0))
    assert found.evidence["single"]["runs"] == 20


@pytest.mark.parametrize(("memory_bytes", "verdict"), [(1, "fail"), (2**40, "pass")])
def test_memory_is_that_of_the_model_s_own_process(candidate, python_bundle, memory_bytes, verdict):
    subject = candidate(python_bundle("return x.sum(axis=1)", "memory"))
    settings = BudgetSettings(single_ms=1e9, batch_ms=1e9, runs=5, memory_bytes=memory_bytes)
    assert budget.check(subject, settings).verdict == verdict
