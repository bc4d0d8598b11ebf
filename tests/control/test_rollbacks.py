"""Back: to any release, in a freeze, without what verdicts take; and what is refused before it begins."""

import msgspec
import pytest
from tests.control.conftest import ANA, BO, CANARY, OLA, VIC, canary, spec
from tests.control.courses import Course, Seen

from penstock.control.deploy import Start
from penstock.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Refused, Unavailable, Unsupported
from penstock.core.names import VersionRef
from penstock.rollout.plan import RolloutPlan

FROZEN = "freezes: {holidays: {since: '2023-11-14T00:00:00Z', until: '2023-11-20T00:00:00Z'}}"


def test_in_a_freeze_nothing_goes_forward_and_everything_goes_back(course, register, clock):
    control = course.control
    control.apply(canary("churn/2", more=FROZEN), identity=ANA)
    for _ in range(5):
        course.tick(61, "better")
    assert course.shares["churn/2"] == 0
    more = spec(f"endpoints: {{churn: {{model: churn/2, {CANARY}}}, other: {{model: churn/1}}}}\n{FROZEN}")
    for forbidden in (
        lambda: control.rollouts.command(1, "promote", identity=BO),
        lambda: control.apply(more, identity=ANA),
    ):
        with pytest.raises(Refused, match="holidays"):
            forbidden()
    control.rollouts.rollback("churn", identity=OLA)
    course.until("aborted", "better")
    with pytest.raises(Refused, match="holidays"):
        control.rollouts.retry("churn", identity=OLA)
    clock.now += 30 * 86_400
    assert control.rollouts.retry("churn", identity=OLA).id == 2


def test_back_to_any_release_with_its_settings(control, clock, seen, register):
    second, third = register(), register() + 1
    register()
    for model, limits in ((1, 100), (second, 200), (third, 300)):
        gates = f"gates: {{budget: {{single_ms: {limits}}}}}"
        text = f"endpoints: {{churn: {{model: churn/{model}, limits: {{deadline_ms: {limits}}}, {gates}}}}}"
        control.apply(spec(text), identity=ANA)
    course = Course(control, clock, seen)

    def served():
        endpoint = control.routes().endpoints["churn"]
        return endpoint.arms[0].version, endpoint.limits.deadline_ms

    control.rollouts.rollback("churn", identity=OLA, to=1)
    assert served() == ("churn/1", 100)
    assert control.spec().endpoints["churn"].gates.budget.single_ms == 100, "settings and thresholds, too"
    control.rollouts.rollback("churn", identity=OLA)
    assert served() == (f"churn/{third}", 300), "the last that was another"
    with pytest.raises(NotFound, match="unknown-release"):
        control.rollouts.rollback("churn", identity=OLA, to=99)
    with pytest.raises(NotFound, match="unknown-endpoint"):
        control.rollouts.rollback("nothing", identity=OLA)
    with pytest.raises(Forbidden):
        control.rollouts.rollback("churn", identity=VIC)
    control.registry(ANA).retire(VersionRef("churn", second))
    with pytest.raises(Refused, match="version-retired"):
        control.rollouts.rollback("churn", identity=OLA, to=2)
    course.number = 2
    assert course.until("rolled-back", "inconclusive").rollout.state.reason == "rolled back to release 3 by ola"
    assert course.whole and [one.generation for one in control.rollouts.releases("churn")] == [5, 4, 3, 2, 1]


def test_there_must_be_something_to_go_back_to(control, register):
    register()
    control.apply(spec("endpoints: {churn: {model: churn/1}}"), identity=ANA)
    with pytest.raises(Conflict, match="nothing-to-roll-back"):
        control.rollouts.rollback("churn", identity=ANA)
    with pytest.raises(NotFound, match="unknown-rollout"):
        control.rollouts.retry("churn", identity=ANA)


def test_further_back_than_a_rollout_began(course, register):
    course.until("promoted", "better")
    third = register()
    course.control.apply(canary(f"churn/{third}"), identity=ANA)
    course.control.rollouts.rollback("churn", identity=OLA, to=1)
    assert course.shares == {"churn/1": 10_000}
    assert course.control.rollouts.read(2).ended and not course.control.rollouts.read(2).standing
    assert course.control.plan(canary(f"churn/{third}")).empty, "what was asked for last is not asked for again"
    assert course.whole


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("rollout: {strategy: canary, steps: [50, 10]}", "steps must rise"),
        ("rollout: {strategy: blue-green, steps: [5]}", "has no steps"),
        ("rollout: {strategy: slowly}", "rollout.strategy"),
        ("rollout: {strategy: canary, stepz: [5]}", "did you mean steps?"),
        ("rollout: {}, recording: {sample: 0}", "nothing to judge by"),
        ("rollout: {metrics: {errors: {kind: errors, margin: -1}}}", "margin"),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_meant_is_refused_with_its_place(endpoint, says):
    with pytest.raises(InvalidInput, match=says.replace("?", r"\?")):
        spec(f"endpoints: {{churn: {{model: churn/1, {endpoint}}}}}")
    with pytest.raises(InvalidInput, match="several"):
        spec("endpoints: {churn: {arms: [{model: churn/1, weight: 50}, {model: churn/2, weight: 50}], rollout: {}}}")


@pytest.mark.parametrize(
    ("freeze", "says"),
    [("{}", "either cron"), ("{cron: '0 3 * * *'}", "hours"), ("{cron: '0 3 * *', hours: 1}", "invalid-cron"),
     ("{since: '2026-12-20', until: '2026-12-01'}", "not before"), ("{since: soon, until: '2026-12-01'}", "no date")],
)  # fmt: skip
def test_a_freeze_that_is_none_is_refused(freeze, says):
    with pytest.raises(InvalidInput, match=says):
        spec(f"freezes: {{x: {freeze}}}")


def test_another_endpoint_changes_and_what_went_back_stays_away(course, register):
    course.until("promoted", "better")
    course.control.rollouts.rollback("churn", identity=OLA)
    wish = Start(model="churn/2", plan=RolloutPlan(strategy="all-at-once"))
    text = f"endpoints: {{churn: {{model: churn/2, {CANARY}}}, shop: {{model: churn/1}}}}"
    course.control.apply(spec(text), identity=ANA)
    begun = course.control.rollouts.start("shop", wish, identity=msgspec.structs.replace(OLA, endpoints=("shop",)))
    assert course.control.continue_operation(begun.id).state == "done"
    assert course.shares == {"churn/1": 10_000}
    assert "was rolled-back" in course.control.plan(spec(text.replace("shop: {model: churn/1}", ""))).warnings[-1]
    again = course.control.rollouts.retry("churn", identity=OLA)
    assert again.rollout.plan.strategy == "canary" and course.shares == {"churn/1": 10_000, "churn/2": 0}


def test_a_rollback_ends_where_verdicts_cannot_be_made(control, clock, register):
    register()
    register()
    for number in (1, 2):
        control.apply(spec(f"endpoints: {{churn: {{model: churn/{number}}}}}"), identity=ANA)

    def unable(rollout):
        raise Unsupported("missing-extra", "rollouts need scipy")

    control._look = unable
    control.rollouts.rollback("churn", identity=OLA)
    assert Course(control, clock, Seen()).until("rolled-back", "inconclusive").ended


def test_what_cannot_be_served_goes_back_also_while_the_log_is_away(course):
    course.tick(1)
    course.tick(1)

    def away(rollout):
        raise Unavailable("log-unavailable", "it is away")

    course.control._look = away
    with pytest.raises(Unavailable):
        course.tick(1)
    course.tick(1, problems={"churn": "its golden rows differ"})
    assert course.control.rollouts.read(1).rollout.state.end == "failed"


EIGHT = ", ".join(f"{{model: churn/1, name: s{n}}}" for n in range(8))


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (f"shadows: [{EIGHT}], rollout: {{strategy: shadow}}", "invalid-routes"),
        (("unit: {header: x-user}, rollout: {strategy: ab, policy: thompson, metrics: "
         "{a: {kind: rate, outcome: a, goal: true}}}"), "thompson"),
        ("rollout: {strategy: shadow, share: 0.001}", "finer than 0.01"),
        ("recording: {sample: 0}, rollout: {}", "nothing to judge by"),
    ],
)  # fmt: skip
def test_what_nodes_would_refuse_is_never_begun(control, register, endpoint, says):
    register()
    register()
    own = endpoint.partition("rollout:")[0]
    control.apply(spec(f"endpoints: {{churn: {{model: churn/1, {own}}}}}"), identity=ANA)
    generation = control.generation().generation
    with pytest.raises(InvalidInput, match=says):
        failed = control.apply(spec(f"endpoints: {{churn: {{model: churn/2, {endpoint}}}}}"), identity=ANA)
        raise failed.error.error()
    assert control.generation().generation == generation


def test_a_long_name_has_a_seed_that_fits(control, register):
    register()
    register()
    name = "a" * 120
    for number in (1, 2):
        done = control.apply(spec(f"endpoints: {{{name}: {{model: churn/{number}, {CANARY}}}}}"), identity=ANA)
        assert done.state == "done", done
    assert len(control.routes().endpoints[name].seed) <= 64


def test_started_again_by_call_what_went_back_is_tried_again(course):
    wish = Start(model="churn/2", plan=RolloutPlan(strategy="blue-green"))
    with pytest.raises(Conflict, match="rollout-running"):
        course.control.rollouts.start("churn", wish, identity=OLA)
    course.control.rollouts.command(1, "abort", identity=OLA)
    begun = course.control.rollouts.start("churn", wish, identity=OLA)
    assert course.control.continue_operation(begun.id).state == "done"
    again = course.control.rollouts.read(2)
    assert (again.rollout.plan.strategy, again.going, course.whole) == ("blue-green", True, True)
