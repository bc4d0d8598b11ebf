"""Gates that somebody asks for: kept with the version, good for an apply, and for no comparison but the one made."""

import pytest
from tests.control.conftest import ANA, OLA, VIC, spec

from penstock.control.checking import CheckWish
from penstock.core.errors import Forbidden, InvalidInput, NotFound, Unavailable
from penstock.gates.plan import GatePlan, ReplaySettings
from penstock.security.identity import Identity

ONE = "endpoints: {churn: {model: churn/1}}"
TWO = "endpoints: {churn: {model: churn/2}}"


def check(control, identity=OLA, **wish):
    return control.continue_operation(control.begin_check(CheckWish(**wish), identity=identity).id)


def test_a_report_is_kept_and_an_apply_relies_on_it(control, register, gates):
    register()
    done = check(control, version="churn", endpoint="churn", reason="nightly")
    assert (done.kind, done.state, done.reason) == ("check", "done", "nightly")
    assert [step.text for step in done.progress] == ["checking churn/1", "churn/1: pass"]
    report = control.report(done.id)
    assert control.reports("churn/1") == [report] and report.verdict == "pass"
    assert control.apply(spec(ONE), identity=OLA).state == "done"
    assert len(gates.cases) == 1
    assert control.registry(ANA).verify_audit().whole


def test_a_report_is_good_for_what_it_was_compared_with_alone(control, register, gates):
    register()
    register()
    # Given one of the second version without a champion
    check(control, version="churn/2", endpoint="churn")
    control.apply(spec(ONE), identity=OLA)
    count = len(gates.cases)
    # Then the first as champion asks for another, and so do other limits
    assert control.plan(spec(TWO)).checks[0].verdict is None
    check(control, version="churn/2", against="churn/1", endpoint="churn")
    assert gates.cases[-1].champion.digest == control.registry(ANA).resolve("churn/1").digest
    assert control.plan(spec(TWO)).checks[0].verdict == "pass"
    limited = "endpoints: {churn: {model: churn/2, limits: {deadline_ms: 5}}}"
    assert control.plan(spec(limited)).checks[0].verdict is None
    assert control.apply(spec(TWO), identity=OLA).state == "done"
    assert len(gates.cases) == count + 1


def test_the_limits_are_those_of_the_endpoint_that_is_served(control, register, gates):
    register()
    control.apply(spec("endpoints: {churn: {model: churn/1, limits: {deadline_ms: 9}}}"), identity=OLA)
    check(control, version="churn/1", endpoint="churn")
    assert gates.cases[-1].limits.deadline_ms == 9
    check(control, version="churn/1")
    assert gates.cases[-1].limits.deadline_ms != 9


def test_what_was_inconclusive_is_judged_anew_by_the_next_apply(control, register, gates, clock):
    register()
    gates.verdict = "inconclusive"
    waiting = control.apply(spec(ONE), identity=OLA)
    assert waiting.state == "waiting-approval"
    # The environment is there now
    clock.now += 1
    gates.verdict = "pass"
    assert control.plan(spec(ONE)).checks[0].verdict is None
    assert control.apply(spec(ONE), identity=OLA).state == "done"
    assert len(gates.cases) == 2


def test_recorded_requests_have_changed_by_the_next_apply_but_not_within_one(control, register, gates, clock):
    register()
    replayed = "gates: {replay: {}}\n"
    begun = control.begin_apply(spec(replayed + ONE), identity=OLA)
    clock.now += 1
    check(control, version="churn/1", endpoint="churn", gates=GatePlan(replay=ReplaySettings()))
    assert control.continue_operation(begun.id).state == "done"
    assert len(gates.cases) == 1, "made since it began"
    control.apply(spec("endpoints: {}"), identity=OLA)
    clock.now += 1
    assert control.apply(spec(replayed + ONE), identity=OLA).state == "done"
    assert len(gates.cases) == 2


def test_who_may_and_what_cannot_be_meant(control, register):
    register()
    confined = Identity(subject="eve", role="operator", endpoints=("fraud",))
    for identity, code in ((VIC, "role-forbidden"), (confined, "endpoint-forbidden")):
        with pytest.raises(Forbidden, match=code):
            control.begin_check(CheckWish(version="churn/1", endpoint="churn"), identity=identity)
    none = GatePlan(schema=False, golden=False, robustness=False, budget=False)
    with pytest.raises(InvalidInput, match="invalid-gates"):
        control.begin_check(CheckWish(version="churn/1", gates=none), identity=OLA)
    with pytest.raises(NotFound, match="unknown-version"):
        control.begin_check(CheckWish(version="churn/9"), identity=OLA)
    assert control.operations() == []
    with pytest.raises(NotFound, match="unknown-operation"):
        control.report(1)


def test_a_check_goes_on_after_trouble_and_has_no_report_before(control, open_control, register, gates):
    register()
    begun = control.begin_check(CheckWish(version="churn/1"), identity=OLA)
    gates.error = Unavailable("disk-full", "no room")
    with pytest.raises(Unavailable):
        control.continue_operation(begun.id)
    with pytest.raises(NotFound, match="no-report"):
        control.report(begun.id)
    gates.error = None
    assert [one.id for one in control.unfinished()] == [begun.id]
    assert open_control().continue_operation(begun.id).state == "done"
    # And what cannot be fetched ends it
    gates.error = NotFound("missing-artifact", "gone")
    failed = check(control, version="churn/1")
    assert (failed.state, failed.error.code) == ("failed", "missing-artifact")
