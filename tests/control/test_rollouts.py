"""Rollouts as control keeps them: begun by an apply, moved by ticks, told by people."""

import msgspec
import pytest
from tests.control.conftest import ANA, BO, CANARY, OLA, VIC, canary, spec
from tests.control.courses import Course, Seen

from penstock.control.control import Control
from penstock.control.deploy import Start
from penstock.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from penstock.core.names import VersionRef
from penstock.rollout.plan import RolloutPlan
from penstock.storage.folder import Folder


def test_a_good_one_takes_over_step_by_step(course):
    control = course.control
    assert [record.id for record in control.rollouts.going()] == [1]
    seen = [course.shares["churn/2"]]
    for _ in range(12):
        course.tick(61, "not-worse")
        seen.append(course.shares["churn/2"])
    assert list(dict.fromkeys(seen)) == [0, 1000, 5000, 10_000]
    record = control.rollouts.read(1)
    assert (record.ended, record.rollout.state.end, record.standing) == (True, "promoted", False)
    assert course.shares == {"churn/2": 10_000}
    told = [event.text for event in control.rollouts.events(1)]
    assert told[0].startswith("canary to churn/2") and "step 1: 10 %" in told[1] and told[-2].startswith("promoted")
    assert [one.generation for one in control.rollouts.releases("churn")] == [record.rollout.state.generation, 1]
    assert control.rollouts.going() == [] and course.whole
    assert control.apply(canary("churn/2"), identity=ANA).progress[-1].text == "nothing to change"


def test_a_worse_one_goes_back_and_the_same_spec_does_not_bring_it_again(course):
    for _ in range(2):
        course.tick(61)
    assert course.shares["churn/2"] == 1000
    course.tick(1, "worse")
    assert course.shares == {"churn/1": 10_000}, "the old one has everything at once"
    record = course.until("rolled-back", "worse")
    assert record.standing and course.whole
    plan = course.control.plan(canary("churn/2"))
    assert plan.empty and "was rolled-back: worse" in plan.warnings[-1]
    generation = course.control.generation().generation
    assert course.control.apply(canary("churn/2"), identity=ANA).generation == generation
    assert [one.generation for one in course.control.rollouts.releases("churn")] == [1], "it never was a release"
    again = course.control.rollouts.retry("churn", identity=OLA, reason="it was the network")
    assert (again.id, again.rollout.state.phase, course.shares["churn/2"]) == (2, "loading", 0)
    assert not course.control.rollouts.read(1).standing and course.whole


def test_another_version_after_one_that_went_back_is_a_rollout_from_what_is_served(course, register, gates):
    course.tick(1)
    course.control.rollouts.command(1, "abort", identity=ANA)
    course.until("aborted", "inconclusive")
    third = register()
    gates.cases.clear()
    course.control.apply(canary(f"churn/{third}"), identity=ANA)
    assert gates.cases[-1].champion.digest == course.control.rollouts.read(1).rollout.before.arms[0].bundle
    assert course.shares == {"churn/1": 10_000, "churn/3": 0}
    # And back to what is served: nothing is left to be done but to forget it.
    course.control.rollouts.command(2, "abort", identity=ANA)
    course.number = 2
    course.until("aborted", "inconclusive")
    course.control.apply(canary("churn/1"), identity=ANA)
    assert course.control.plan(canary("churn/1")).warnings == () and course.shares == {"churn/1": 10_000}
    assert not course.control.status().rollouts and course.whole


def test_an_alias_moves_when_its_rollout_is_promoted_and_not_before(control, clock, seen, register):
    register(alias="champion")
    second = register()
    text = "models: {{churn: {{aliases: {{champion: {}}}}}}}"
    control.apply(canary("churn@champion", more=text.format(1)), identity=ANA)
    control.apply(canary("churn@champion", more=text.format(second)), identity=ANA)
    course = Course(control, clock, seen)
    assert control.registry(ANA).resolve("churn@champion").number == 1
    assert control.plan(canary("churn@champion", more=text.format(second))).empty
    course.until("promoted", "better")
    assert control.registry(ANA).resolve("churn@champion").number == second
    assert [(arm.name, arm.weight) for arm in control.routes().endpoints["churn"].arms] == [("champion", 10_000)]
    # Back, alias and all; and the file that asked for the new one changes nothing.
    control.rollouts.rollback("churn", identity=OLA, reason="it is rude")
    assert control.registry(ANA).resolve("churn@champion").number == 1 and course.shares == {"churn/1": 10_000}
    plan = control.plan(canary("churn@champion", more=text.format(second)))
    assert plan.empty and "rolled back to release 1 by ola" in plan.warnings[-1]
    assert course.whole


def test_an_alias_that_somebody_moved_meanwhile_stays_where_they_put_it(control, clock, seen, register):
    register(alias="champion")
    second, third = register(), register()
    text = "models: {{churn: {{aliases: {{champion: {}}}}}}}"
    control.apply(canary("churn@champion", more=text.format(1)), identity=ANA)
    control.apply(canary("churn@champion", more=text.format(second)), identity=ANA)
    control.set_alias("churn", "champion", third, identity=ANA)
    Course(control, clock, seen).until("promoted", "better")
    assert control.registry(ANA).resolve("churn@champion").number == third
    assert any("churn@champion stays as it is" in event.text for event in control.rollouts.events(1))


def test_nothing_else_begins_on_the_endpoint_while_one_goes_on_or_is_paused(course, register):
    third = register()
    for what in ("pause", "resume"):
        for wanted in (f"churn/{third}", "churn/1"):
            with pytest.raises(Conflict, match="rollout-running"):
                course.control.apply(canary(wanted), identity=ANA)
        with pytest.raises(Conflict, match="rollout-running"):
            course.control.rollouts.retry("churn", identity=ANA)
        course.control.rollouts.command(1, what, identity=OLA)
    # Another endpoint is nobody's business here.
    text = f"endpoints: {{churn: {{model: churn/2, {CANARY}}}, other: {{model: churn/{third}}}}}"
    assert course.control.apply(spec(text), identity=ANA).state == "done"
    assert course.shares == {"churn/1": 10_000, "churn/2": 0}
    assert course.whole


def test_paused_it_stays_and_resumed_it_goes_on(course):
    course.tick(1)
    course.control.rollouts.command(1, "pause", identity=OLA, reason="lunch")
    before = course.shares
    for _ in range(5):
        course.tick(600, "not-worse")
    assert course.shares == before
    course.control.rollouts.command(1, "resume", identity=OLA)
    course.until("promoted", "not-worse")
    assert [event.who for event in course.control.rollouts.events(1)].count("ola") == 2


def test_what_is_not_decided_asks_and_an_approver_may_promote_it(course):
    for _ in range(20):
        course.tick(100)
    state = course.control.rollouts.read(1).rollout.state
    assert (state.hold, state.end) == ("waiting", "") and "inconclusive after" in state.reason
    with pytest.raises(Forbidden, match="role-forbidden"):
        course.control.rollouts.command(1, "promote", identity=OLA)
    with pytest.raises(Forbidden, match="role-forbidden"):
        course.control.rollouts.command(1, "abort", identity=VIC)
    course.control.rollouts.command(1, "promote", identity=BO, reason="looked at it")
    course.until("promoted", "inconclusive")
    assert course.shares == {"churn/2": 10_000}
    with pytest.raises(Conflict, match="rollout-not-possible"):
        course.control.rollouts.command(1, "abort", identity=BO)
    with pytest.raises(NotFound, match="unknown-rollout"):
        course.control.rollouts.command(9, "abort", identity=BO)


def test_a_node_that_cannot_load_it_ends_it_and_other_endpoints_troubles_do_not(course):
    course.tick(1, problems={"other": "is broken"})
    assert course.control.rollouts.read(1).rollout.state.phase == "step"
    course.tick(1, problems={"churn": "its golden rows differ"})
    record = course.until("failed", "inconclusive")
    assert "golden rows differ" in record.rollout.state.reason and course.shares == {"churn/1": 10_000}


def test_no_node_no_traffic_and_no_time_lead_to_nothing(course, clock):
    course.control.rollouts.tick(1)
    assert course.control.rollouts.read(1).rollout.state.phase == "loading", "nobody serves it"
    course.seen.enough = False
    for _ in range(8):
        course.tick(61, "inconclusive")
    assert course.shares["churn/2"] == 1000, "no data leads neither on nor back"
    clock.now -= 86_400
    for _ in range(4):
        course.tick(1, "inconclusive")
    assert course.shares["churn/2"] == 1000, "a clock that was set back is no reason either"


def test_a_version_that_is_retired_meanwhile_goes_no_further(course):
    course.tick(1)
    course.control.registry(ANA).retire(VersionRef("churn", 2), reason="licence")
    assert "is retired" in course.until("failed", "better").rollout.state.reason
    assert course.shares == {"churn/1": 10_000}


def test_two_processes_decide_once(course, database_url, home, clock, gates, seen):
    """Both read the same state; the second finds that it was changed and writes nothing."""
    course.node()
    with Control.open(database_url, Folder(home / "artifacts"), home, clock=clock, judge=gates, look=seen) as other:

        class Late(Seen):
            def __call__(self, rollout):
                other.rollouts.tick(1)
                return super().__call__(rollout)

        course.control._look = Late()
        course.control.rollouts.tick(1)
    assert len(course.control.rollouts.events(1)) == 2
    assert course.control.rollouts.read(1).rollout.state.phase == "step" and course.whole


def test_shadows_of_a_spec_are_in_the_routes_and_no_version_that_answers(control, register):
    register(alias="champion")
    register()
    text = "endpoints: {churn: {model: churn@champion, shadows: [{model: churn/2, share: 12.5, budget: 0.1}]}}"
    assert control.apply(spec(text), identity=ANA).state == "done"
    (shadow,) = control.routes().endpoints["churn"].shadows
    assert (shadow.name, shadow.version, shadow.sample, shadow.budget) == ("v2", "churn/2", 1250, 0.1)
    assert shadow.uri and control.plan(spec(text)).empty
    for wrong, says in (("{model: churn/2, share: 0}", "share"), ("{model: churn/9}", "unknown-version"),
                        ("{model: churn/2, name: champion}", "name of their own")):  # fmt: skip
        with pytest.raises((InvalidInput, NotFound), match=says):
            control.plan(spec(f"endpoints: {{churn: {{model: churn@champion, shadows: [{wrong}]}}}}"))


def test_a_rollout_by_call_keeps_the_alias_that_the_endpoint_follows(control, clock, seen, register):
    register(alias="champion")
    register()
    text = "models: {churn: {aliases: {champion: 1}}}\nendpoints: {churn: {model: churn@champion}}"
    control.apply(spec(text), identity=ANA)
    wish = Start(model="churn/2", plan=RolloutPlan(strategy="all-at-once"), reason="it is small")
    begun = control.rollouts.start("churn", wish, identity=OLA)
    assert control.continue_operation(begun.id).state == "done"
    course = Course(control, clock, seen)
    course.until("promoted", "better")
    assert control.registry(ANA).resolve("churn@champion").number == 2
    assert control.spec().endpoints["churn"].model == "churn@champion"
    with pytest.raises(NotFound, match="unknown-endpoint"):
        control.rollouts.start("nothing", wish, identity=OLA)
    with pytest.raises(InvalidInput, match="invalid-rollout"):
        control.rollouts.start("churn", Start(model="churn/1", plan=RolloutPlan(share=5)), identity=OLA)


def test_a_bandit_moves_the_share_and_every_move_counts_for_itself(control, clock, seen, register):
    register(alias="champion")
    register()
    goal = "metrics: {bought: {kind: rate, outcome: bought, goal: true}}"
    plan = f"rollout: {{strategy: ab, policy: thompson, bake_s: 60, timeout_s: 10000, {goal}}}"
    for model in ("churn/1", "churn/2"):
        control.apply(canary(model, plan), identity=ANA)
    course = Course(control, clock, seen)
    shares = []
    for seen.weight in (5000, 7000, 7050, 9500):
        for _ in range(3):
            course.tick(61)
        shares.append(course.shares["churn/2"])
    assert shares == [5000, 7000, 7000, 9500], "less than a hundredth is no reason to move anybody"
    strata = control.rollouts.read(1).rollout.state.strata
    assert [one.share for one in strata] == [0.5, 0.7, 0.95] and all(one.buckets[1] for one in strata)


def test_a_plan_says_how_and_who_is_confined_may_begin_it(control, register):
    register(alias="champion")
    register()
    control.apply(spec("endpoints: {churn: {model: churn/1}, other: {model: churn/1}}"), identity=ANA)
    text = f"endpoints: {{churn: {{model: churn/2, {CANARY}}}, other: {{model: churn/1}}}}"
    plan = control.plan(spec(text))
    assert plan.rollouts == {"churn": "canary"} and list(plan.plans) == ["churn"] and plan.settings == ()
    for confined, may in (("other", False), ("churn", True)):
        identity = msgspec.structs.replace(OLA, endpoints=(confined,))
        wish = Start(model="churn/2", plan=RolloutPlan())
        if not may:
            with pytest.raises(Forbidden, match="endpoint-forbidden"):
                control.rollouts.start("churn", wish, identity=identity)
            continue
        begun = control.rollouts.start("churn", wish, identity=identity)
        assert control.continue_operation(begun.id).state == "done"
        with pytest.raises(Forbidden, match="endpoint-forbidden"):
            control.rollouts.command(1, "abort", identity=msgspec.structs.replace(OLA, endpoints=("other",)))
