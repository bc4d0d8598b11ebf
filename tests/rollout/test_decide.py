"""Decisions as a table of situations, then whole rollouts from beginning to end with made-up facts."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from penstock.core.routes import Arm, Endpoint, Rule, Unit, read_routes
from penstock.rollout.arms import compared, endpoint_of, share_of
from penstock.rollout.decide import Facts, begin, decide, obey
from penstock.rollout.judgement import Judgement
from penstock.rollout.metrics import Metric
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.state import Rollout

DIGEST = "sha256:" + "0" * 64
GOAL = {"accuracy": Metric(kind="match", outcome="label", goal=True)}


def arm(number, weight=10_000, name="champion"):
    return Arm(name=name, version=f"churn/{number}", bundle=DIGEST, uri="", weight=weight)


BEFORE, AFTER = (Endpoint(arms=(arm(number),), unit=Unit(header="x-user")) for number in (7, 8))


def rollout(before=BEFORE, **plan):
    plan = {"bake_s": 10, "timeout_s": 1000, "least_samples": 100, **plan}
    allowed = {name: value for name, value in plan.items() if name in RolloutPlan.__struct_fields__}
    made = Rollout(
        endpoint="churn", plan=RolloutPlan(**allowed), before=before, after=AFTER, seed="churn:1",
        state=None,
    )  # fmt: skip
    return msgspec.structs.replace(made, state=begin(0.0))


def judged(verdict, enough=True, mismatch=""):
    return Judgement(verdict=verdict, enough=enough, mismatch=mismatch, summary=f"it is {verdict}")


class Course:
    """A rollout that is decided on again and again; what it was told, and the endpoint it led to, is kept."""

    def __init__(self, **plan):
        self.rollout = rollout(**plan)
        self.now, self.told, self.current = 0.0, [], BEFORE
        self.seen = []

    @property
    def state(self):
        return self.rollout.state

    def step(self, verdict="inconclusive", seconds=1, enough=True, serving="ready", mismatch="", **facts):
        self.now += seconds
        made = judged(verdict, enough, mismatch) if self.state.counted is not None or mismatch else None
        decision = decide(self.rollout, Facts(now=self.now, serving=serving, judgement=made, **facts))
        assert (decision.state == self.state) == (not decision.because)
        self._take(decision)
        return self

    def obey(self, command):
        decision = obey(self.rollout, command, "ana", self.now)
        if decision is not None:
            self._take(decision)
        return decision is not None

    def _take(self, decision):
        if decision.because:
            self.told.append(decision.because)
        self.rollout = msgspec.structs.replace(self.rollout, state=decision.state)
        self.current = endpoint_of(self.rollout, self.current)
        self.seen.append(weight(self.current))
        check(self.current)

    def until_end(self, most=200, **facts):
        for _ in range(most):
            if self.state.ended:
                return self
            self.step(**facts)
        raise AssertionError(self.state)


def weight(endpoint):
    """The new version's share, whatever its arm is called."""
    return sum(one.weight for one in endpoint.arms if one.version == "churn/8")


def check(endpoint):
    """A node would take it."""
    document = {"format": 1, "generation": 1, "endpoints": {"churn": msgspec.to_builtins(endpoint)}}
    read_routes(msgspec.json.encode(document))


def test_a_good_canary_goes_all_the_way():
    course = Course(steps=(1, 5, 25)).until_end(verdict="not-worse", seconds=6)
    assert [share for share, _ in itertools.groupby(course.seen)] == [100, 500, 2500, 10_000]
    assert course.state.end == "promoted" and course.current == AFTER
    assert [stratum.share for stratum in course.state.strata] == [0.01, 0.05, 0.25]
    assert all(stratum.until is not None for stratum in course.state.strata)


def test_a_worse_one_goes_back_from_any_step():
    for steps in range(4, 30, 5):
        course = Course(steps=(1, 5, 25))
        for _ in range(steps):
            course.step("inconclusive", seconds=4)
        if course.state.counted is None:
            course.step()
        course.step("worse")
        assert (course.state.phase, course.state.end, weight(course.current)) == ("finishing", "rolled-back", 0)
        assert course.current == BEFORE
        assert course.step().state.ended


def test_without_data_it_stays_where_it_is_and_then_asks():
    course = Course(steps=(5,), timeout_s=100)
    for _ in range(80):
        course.step(enough=False)
    assert (course.state.weight, course.state.hold) == (500, "")
    for _ in range(40):
        course.step(enough=False)
    assert (course.state.weight, course.state.hold) == (500, "waiting")
    # What waits is never promoted by itself, but goes back when it is worse.
    for _ in range(40):
        course.step("better", seconds=100)
    assert course.state.hold == "waiting" and not course.state.ended
    assert course.step("worse").state.end == "rolled-back"


def test_an_equal_one_that_should_be_better_asks():
    course = Course(steps=(50,), require="better", timeout_s=60, metrics=GOAL)
    for _ in range(100):
        course.step("not-worse", seconds=2)
    assert (course.state.hold, course.state.weight) == ("waiting", 5000) and "inconclusive" in course.state.reason
    assert course.obey("promote") and course.state.end == "promoted" and course.current == AFTER


def test_what_cannot_be_loaded_gets_no_traffic():
    course = Course().step(serving="converging").step(serving="refused", problems="golden rows differ")
    assert course.state.end == "failed" and "golden rows differ" in course.state.reason
    assert course.seen == [0, 0] and course.current == BEFORE


def test_traffic_divided_otherwise_than_planned_ends_it_before_any_metric_is_read():
    course = Course(steps=(50,)).step().step()
    course.step("worse", mismatch="sample ratio: 60 % instead of 50 %")
    assert course.state.end == "aborted" and "sample ratio" in course.state.reason


def test_people_decide():
    course = Course(steps=(5, 50)).step().step().step()
    assert course.obey("pause") and not course.obey("pause")
    for _ in range(50):
        course.step("better", seconds=50)
    assert (course.state.weight, course.state.hold) == (500, "paused")
    assert course.obey("resume") and not course.obey("resume")
    course.step("better", seconds=20)
    assert course.state.weight == 5000
    assert course.obey("abort") and course.current == BEFORE
    assert not any(map(course.obey, ("pause", "resume", "promote", "abort")))
    assert course.until_end().state.end == "aborted"


def test_a_freeze_stops_what_goes_forward_and_nothing_else():
    course = Course(steps=(5, 50))
    for _ in range(20):
        course.step("better", seconds=20, frozen="christmas")
    assert course.state.phase == "loading"
    course.step().step()
    for _ in range(20):
        course.step("better", seconds=20, frozen="christmas")
    assert course.state.weight == 500
    assert course.step("worse", frozen="christmas").state.end == "rolled-back"


def test_blue_and_green():
    course = Course(strategy="blue-green", bake_s=30).step()
    assert weight(course.current) == 10_000 and [one.version for one in course.current.arms] == ["churn/7", "churn/8"]
    for _ in range(5):
        course.step("inconclusive", seconds=5)
    assert not course.state.ended
    assert Course(strategy="blue-green").step().step().step("worse").current == BEFORE
    assert course.until_end(verdict="not-worse", seconds=10).state.end == "promoted"


def test_all_at_once():
    course = Course(strategy="all-at-once")
    assert course.until_end().state.end == "promoted" and course.seen[0] == 10_000


def test_a_shadow_answers_nobody():
    course = Course(strategy="shadow", share=10).step().step()
    assert course.seen[-1] == 0 and [(one.version, one.sample) for one in course.current.shadows] == [("churn/8", 1000)]
    assert course.until_end(verdict="not-worse", seconds=20).state.end == "promoted"
    course = Course(strategy="shadow", promote=False).step().step().step("not-worse", seconds=20)
    assert (course.state.hold, course.state.reason) == ("waiting", "not-worse: it is not-worse")


def test_a_challenger_stays_and_gets_a_verdict_each_period():
    course, verdicts = Course(strategy="champion-challenger", period_s=60).step().step(), []
    for verdict in ("not-worse", "worse", "better", "inconclusive"):
        for _ in range(6):
            course.step(verdict, seconds=10)
    verdicts = [line.split(": ")[1] for line in course.told if line.startswith("period")]
    assert verdicts == ["not-worse", "worse", "better", "inconclusive"]
    assert not course.state.ended and course.seen[-1] == 0
    assert course.obey("abort")


def test_an_experiment_and_its_bandit():
    course = Course(strategy="ab", share=20).step().step()
    assert course.seen[-1] == 2000
    course.step("not-worse", seconds=50)
    assert not course.state.ended, "not worse is not better"
    assert course.step("better").state.end == "promoted"
    course = Course(strategy="ab", policy="thompson", metrics=GOAL).step().step()
    course.step(seconds=5, weight=9000)
    assert course.seen[-1] == 5000, "not before the step has lasted"
    course.step(seconds=20, weight=9000)
    assert course.seen[-1] == 9000 and course.state.counted is None
    course.step(seconds=20, weight=9050).step(seconds=20, weight=9050)
    assert course.seen[-1] == 9000, "not for half a percent"
    assert [one.share for one in course.state.strata] == [0.5, 0.9]


def test_a_fresh_baseline_gets_as_much_as_the_new_version():
    course = Course(steps=(5, 40, 70), fresh_baseline=True).step()
    shares = {one.name: one.weight for one in course.current.arms}
    assert shares == {"champion": 9000, "baseline": 500, "candidate": 500}
    assert compared(course.rollout) == (("baseline",), "candidate")
    assert [share_of(course.rollout, one) for one in (500, 4000)] == [0.5, 0.5]
    assert share_of(course.rollout, 7000) == pytest.approx(0.7)


@given(st.lists(st.integers(1, 9_999), min_size=1, max_size=6, unique=True), st.booleans(), st.integers(1, 9_999))
def test_nobody_flips_back_while_the_share_grows(steps, fresh, first):
    two = Endpoint(arms=(arm(7, first, "one"), arm(6, 10_000 - first, "two")), unit=Unit(header="x-user"))
    made = rollout(before=two, steps=tuple(step / 100 for step in sorted(steps)), fresh_baseline=fresh)
    current, inside = two, set()
    for share in sorted(steps):
        state = msgspec.structs.replace(made.state, phase="step", weight=share)
        current = endpoint_of(msgspec.structs.replace(made, state=state), current)
        check(current)
        ranges = next(one.buckets for one in current.arms if one.name == "candidate")
        now = {bucket for low, high in ranges for bucket in range(low, high)}
        assert inside <= now and len(now) == share
        inside = now


def test_paused_before_it_counted_it_is_watched_all_the_same():
    course = Course(steps=(5,)).step()
    assert course.state.phase == "step" and course.state.counted is None
    assert course.obey("pause")
    course.step().step("worse")
    assert course.state.end == "rolled-back"


def test_a_freeze_holds_the_bandit_and_lets_it_go_back():
    course = Course(strategy="ab", policy="thompson", metrics=GOAL).step().step()
    course.step(seconds=20, weight=9000, frozen="holidays")
    assert weight(course.current) == 5000
    course.step(seconds=20, weight=2000, frozen="holidays")
    assert weight(course.current) == 2000


def test_shares_of_a_bandit_last_the_longer_the_longer_it_goes_on():
    course = Course(strategy="ab", policy="thompson", metrics=GOAL, timeout_s=10**6).step().step()
    for number in range(3000):
        course.step(seconds=10, weight=(3000, 7000)[number % 2])
    assert len(course.state.strata) < 150


@pytest.mark.parametrize("strategy", ["canary", "shadow"])
@pytest.mark.parametrize("taken", ["candidate", "baseline"])
def test_names_that_are_taken_are_left_alone(strategy, taken):
    before = Endpoint(arms=(arm(7, name=taken),), unit=Unit(header="x-user"))
    plan = {"fresh_baseline": True} if strategy == "canary" else {}
    made = rollout(before, strategy=strategy, **plan)
    olds, new = compared(made)
    step = msgspec.structs.replace(made.state, phase="step", weight=500)
    served = endpoint_of(msgspec.structs.replace(made, state=step), before)
    names = [one.name for one in (*served.arms, *served.shadows)]
    assert new in names and taken in names and len(set(names)) == len(names)
    assert set(olds) <= set(names)
    check(served)


def test_rules_and_settings_of_before_stay_until_it_is_promoted():
    rule = Rule(name="staff", arm="champion", header="x-staff", values=("yes",))
    before = msgspec.structs.replace(BEFORE, rules=(rule,), isolation="process")
    made = rollout(before)
    served = endpoint_of(made, before)
    assert (served.rules, served.isolation) == ((rule,), "process")


class AnyCourse(RuleBasedStateMachine):
    """A canary to which anything happens in any order: what must hold whatever it was."""

    def __init__(self):
        super().__init__()
        self.course = Course(steps=(5, 25), timeout_s=300)
        self.before = self.course.state

    @property
    def state(self):
        return self.course.state

    @rule(
        verdict=st.sampled_from(["better", "not-worse", "worse", "inconclusive"]),
        seconds=st.sampled_from([-50, 0, 1, 11, 400]),
        enough=st.booleans(),
        serving=st.sampled_from(["ready", "ready", "converging", "refused"]),
        mismatch=st.sampled_from(["", "", "", "divided otherwise"]),
        frozen=st.sampled_from(["", "", "holidays"]),
    )
    def time_passes(self, verdict, seconds, enough, serving, mismatch, frozen):
        self.before = before = self.state
        counting = before.counted is not None
        self.course.step(verdict, seconds, enough, serving, mismatch if counting else "", frozen=frozen)
        if self.state.end == before.end:
            return
        # Forward for reasons alone, and back for one.
        assert before.phase not in ("finishing", "ended")
        if self.state.end == "promoted":
            assert counting and verdict in ("better", "not-worse") and enough and serving == "ready"
            assert not frozen and not before.hold and before.step == 1
        if self.state.end == "rolled-back":
            assert verdict == "worse" and counting
        if self.state.end == "failed":
            assert serving == "refused"
        if self.state.end == "aborted":
            assert mismatch and counting

    @rule(command=st.sampled_from(["pause", "resume", "promote", "abort"]))
    def somebody_says(self, command):
        self.before = self.state
        done = self.course.obey(command)
        assert not (done and self.before.end), "what is decided is decided"
        if done and command in ("promote", "abort"):
            assert self.state.phase == "finishing"

    @invariant()
    def shares_only_grow_until_it_is_decided(self):
        state, before = self.state, self.before
        if state.end in ("", "promoted"):
            assert weight(self.course.current) >= before.weight
        else:
            assert self.course.current == BEFORE
        if before.hold and state.hold:
            assert (state.weight, state.step) == (before.weight, before.step)
        assert state.step - before.step in (0, 1)

    @invariant()
    def what_has_ended_stays(self):
        if self.before.ended:
            assert self.state == self.before

    @invariant()
    def strata_follow_each_other(self):
        strata = self.state.strata
        assert all(one.until is not None for one in strata[:-1])
        assert [one.share for one in strata] == sorted(one.share for one in strata)


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
