"""Judging what is served once more: every version on every endpoint, kept, and nothing else changes."""

import pytest
from tests.control.conftest import ANA, VIC, spec

from penstock.control.checks import read_reports
from penstock.core.errors import Forbidden, Unavailable
from penstock.core.names import VersionRef

TWO = """
endpoints:
  churn: {arms: [{name: a, model: churn/1, weight: 90}, {name: b, model: churn/2, weight: 10}]}
"""


@pytest.fixture
def applied(control, register, gates):
    register()
    register()
    done = control.apply(spec(TWO), identity=ANA)
    assert done.state == "done", done
    gates.cases.clear()
    return control


@pytest.mark.parametrize("golden_alone", [True, False])
def test_every_served_version_is_judged_again_and_the_report_kept(applied, gates, golden_alone):
    before = applied.routes()
    gates.verdict = "fail"
    judged = applied.judge_served(identity=ANA, golden_alone=golden_alone)
    assert [(one.endpoint, one.version, one.verdict, one.reasons) for one in judged] == [
        ("churn", "churn/1", "fail", "golden: was told to fail"),
        ("churn", "churn/2", "fail", "golden: was told to fail"),
    ]
    first, second = gates.cases
    assert first.champion is None and second.champion.digest == first.candidate.digest
    assert (list(first.gates.gates()) == ["golden"]) is golden_alone
    reports = read_reports(applied._store, "churn/1")
    assert len(reports) == (2 if golden_alone else 1) and "fail" in [report.verdict for report in reports]
    assert applied.routes() == before


def test_what_cannot_be_judged_is_inconclusive_and_ends_no_other(applied, gates):
    gates.error = Unavailable("disk-full", "no room")
    judged = applied.judge_served(identity=ANA)
    assert [(one.verdict, one.code) for one in judged] == [("inconclusive", "disk-full")] * 2


def test_nothing_is_served_and_who_may(control):
    assert control.judge_served(identity=ANA) == []
    with pytest.raises(Forbidden):
        control.judge_served(identity=VIC)


def test_the_way_back_is_rehearsed_and_status_warns_where_there_is_none(control, register, gates):
    register()
    register()
    assert control.rehearse_rollback(identity=ANA) == []
    for number in (1, 2):
        control.apply(spec(f"endpoints: {{churn: {{model: churn/{number}}}}}"), identity=ANA)
    gates.cases.clear()
    assert [(one.version, one.verdict) for one in control.rehearse_rollback(identity=ANA)] == [("churn/1", "pass")]
    assert list(gates.cases[0].gates.gates()) == ["golden"] and control.status().warnings == ()
    gates.verdict = "fail"
    control.rehearse_rollback(identity=ANA)
    (warning,) = control.status().warnings
    assert "churn cannot go back: churn/1: golden: was told to fail" in warning
    control.registry(ANA).retire(VersionRef("churn", 1))
    (judged,) = control.rehearse_rollback(identity=ANA)
    assert (judged.verdict, judged.code) == ("inconclusive", "version-retired")
    assert "churn/1 is retired" in control.status().warnings[0]
    with pytest.raises(Forbidden):
        control.rehearse_rollback(identity=VIC)
