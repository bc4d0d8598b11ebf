"""What of the prediction log counts in a rollout, and as what: from records and outcomes to samples and verdicts."""

import json

import msgspec
import numpy as np
import pytest
from tests.predlog.logged import BEGIN_S, block, places_in, write_segment

from penstock.core.routes import Arm, Endpoint, Unit
from penstock.predlog.outcomes import Outcome
from penstock.rollout.evidence import look, open_calls, samples, unit_share
from penstock.rollout.metrics import Metric
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.report import make_report
from penstock.rollout.state import Rollout, RolloutState, Stratum

DIGEST = "sha256:" + "0" * 64
ALL = ((0, 10_000),)


def arm(number, name="main"):
    return Arm(name=name, version=f"churn/{number}", bundle=DIGEST, uri="", weight=10_000)


def rollout(*strata, unit="x-user", since=BEGIN_S, **plan):
    sides = [Endpoint(arms=(arm(number),), unit=Unit(header=unit) if unit else None) for number in (1, 2)]
    state = RolloutState(phase="step", since=since, counted=strata[-1].since, strata=strata, step=len(strata) - 1)
    plan = RolloutPlan(**{"least_samples": 1, **plan})
    return Rollout(endpoint="churn", plan=plan, before=sides[0], after=sides[1], seed="s", state=state)


def step(share, since=0.0, until=None):
    """A stratum in which the new version has the last `share` of the buckets."""
    cut = round(10_000 * (1 - share))
    return Stratum(
        since=BEGIN_S + since,
        until=None if until is None else BEGIN_S + until,
        share=share,
        buckets=(((0, cut),), ((cut, 10_000),)),
    )


class Log:
    """A log to which a test adds calls: `calls(new, units, at, …)`."""

    def __init__(self, root):
        self.places = places_in(root)
        self.folder, self.blocks, self.sequence, self.outcomes = root / "seg", [], 0, []

    def calls(self, new, units, at=1.0, *, reason="", status=200, latency_ms=1.0, ids=None, value=0.5, **fields):
        """One call for each of `units` (None: nobody), one after the other; returns the ids."""
        count = len(units)
        ids = ids or [f"r{len(self.blocks)}-{number}" for number in range(count)]
        failed = status >= 400
        numbers = np.full(count, value, np.float64)
        usual = {
            "arm": "candidate" if new else "main",
            "version": f"churn/{2 if new else 1}",
            "time_us": ((BEGIN_S + at) * 1e6 + 1000 * len(self.blocks) + np.arange(count)).astype(np.int64),
            "latency_us": np.full(count, latency_ms * 1000, np.int64),
            "status": np.full(count, status, np.int16),
            "reasons": [reason or ("weight" if unit is None else "unit") for unit in units],
            "units": np.array([unit or 0 for unit in units], np.uint64),
            **({"inputs": {}, "outputs": {}} if failed else {"outputs": {"score": numbers}}),
        }
        made = block(count, ids=ids, **(usual | fields))
        self.blocks.append(made)
        return ids

    def told(self, ids, value, name="label"):
        """What became of them."""
        self.outcomes += [Outcome(request_id=one, value=value, name=name) for one in ids]

    def whole(self):
        write_segment(self.folder, self.blocks)
        if self.outcomes:
            self.places.outcomes.append(self.outcomes)
        return self.places

    def seen(self, made):
        with open_calls(self.whole(), made) as views:
            return samples(views, made)


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def counts(seen, name="errors"):
    return [one.counts for one in seen.metrics[name]]


def test_only_what_the_shares_divided_and_only_while_they_were_served(log):
    log.calls(False, [1, 2, 3])
    log.calls(True, [9_001])
    for reason in ("rule:staff", "override", "version", "only-arm", "shadow"):
        log.calls(True, [9_002], reason=reason)
    log.calls(True, [9_003], at=-1)
    log.calls(False, [4], at=10)
    assert counts(log.seen(rollout(step(0.1, until=10)))) == [(3, 1)]


def test_a_unit_is_one_value_however_often_it_calls(log):
    log.calls(False, [1] * 99 + [2])
    log.calls(True, [9_001], status=500)
    log.calls(True, [9_001] * 3)
    log.calls(True, [9_002])
    (seen,) = log.seen(rollout(step(0.1))).metrics["errors"]
    assert seen.counts == (2, 2) and seen.challenger.tolist() == [0.25, 0.0] and seen.share == 0.1


def test_whoever_had_the_new_one_before_counts_in_that_step_alone(log):
    # 9_950 had it in both steps, 8_000 moved to it, 100 never did; 200 came later.
    for at in (1, 11):
        log.calls(True, [9_950], at=at)
        log.calls(False, [100], at=at)
    log.calls(False, [8_000], at=1)
    log.calls(True, [8_000], at=11)
    log.calls(False, [200], at=11)
    steps = step(0.05, until=10), step(0.25, since=10)
    seen = log.seen(rollout(*steps)).metrics["errors"]
    assert [one.counts for one in seen] == [(2, 1), (2, 1)]
    assert [round(one.share, 4) for one in seen] == [0.05, round(0.2 / 0.95, 4)]


def test_a_fresh_copy_is_what_it_is_compared_with(log):
    log.calls(False, [1, 2, 3])
    log.calls(False, [8_500], arm="baseline")
    log.calls(True, [9_500])
    fresh = Stratum(since=BEGIN_S, share=0.5, buckets=(((8_000, 9_000),), ((9_000, 10_000),)))
    (seen,) = log.seen(rollout(fresh, fresh_baseline=True)).metrics["errors"]
    assert seen.counts == (1, 1) and seen.share == 0.5


def test_shares_that_fall_again_leave_out_what_was_the_new_ones():
    wide, narrow = step(0.5, until=5), step(0.1, since=5)
    assert unit_share((wide, narrow), 1) is None, "all it has, it had before"
    assert unit_share((narrow, wide), 1) == pytest.approx(0.4 / 0.9)


def test_calls_of_nobody_count_in_guardrails_and_not_in_outcomes(log):
    metrics = {"errors": Metric(kind="errors"), "right": Metric(kind="rate", outcome="right", margin=0.1)}
    log.told(log.calls(False, [1, None, None]), True, "right")
    log.told(log.calls(True, [9_001, None]), False, "right")
    seen = log.seen(rollout(step(0.1), metrics=metrics))
    assert counts(seen) == [(1, 1), (2, 1)] and counts(seen, "right") == [(1, 1)]


def test_without_units_every_call_is_one(log):
    metrics = {"right": Metric(kind="rate", outcome="right", margin=0.1)}
    log.told(log.calls(False, [None] * 3), True, "right")
    log.told(log.calls(True, [None] * 2), False, "right")
    (seen,) = log.seen(rollout(step(0.1), unit="", metrics=metrics)).metrics["right"]
    assert seen.counts == (3, 2) and seen.baseline.tolist() == [1, 1, 1] and seen.challenger.tolist() == [0, 0]


KINDS = {
    "match": Metric(kind="match", outcome="label", margin=0.1),
    "rate": Metric(kind="rate", outcome="right", margin=0.1),
    "mean": Metric(kind="mean", outcome="spent", margin=1),
    "cost": Metric(kind="cost"),
    "latency": Metric(kind="latency"),
    "saturation": Metric(kind="saturation"),
    "shift": Metric(kind="shift"),
    "errors": Metric(kind="errors"),
}


def test_what_each_kind_measures(log):
    old = log.calls(False, [1, 2], latency_ms=5, value=0.5)
    new = log.calls(True, [9_001, 9_002], latency_ms=7, value=0.75)
    log.calls(True, [9_003], status=500)
    log.calls(True, [9_004], status=503)
    log.calls(True, [9_005], status=415)
    for name, values in (("label", (0.5, 0.5)), ("right", (True, False)), ("spent", (3, 4))):
        log.told(old, values[0], name)
        log.told(new, values[1], name)
    seen = {name: one for name, (one,) in log.seen(rollout(step(0.1), metrics=KINDS)).metrics.items()}
    expected = {
        "match": ([1, 1], [0, 0]),
        "rate": ([1, 1], [0, 0]),
        "mean": ([3, 3], [4, 4]),
        "cost": ([5, 5], [7, 7]),
        "latency": ([5, 5], [7, 7]),
        "saturation": ([0, 0], [0, 0, 0, 1, 0]),
        "shift": ([0.5, 0.5], [0.75, 0.75]),
        "errors": ([0, 0], [0, 0, 1, 0, 0]),
    }
    assert {name: (one.baseline.tolist(), one.challenger.tolist()) for name, one in seen.items()} == expected


def test_outcomes_that_nobody_told_and_outputs_that_are_not_there_are_no_data(log):
    metrics = {
        "never": Metric(kind="rate", outcome="never", margin=0.1),
        "words": Metric(kind="mean", outcome="words", margin=0.1),
        "match": Metric(kind="match", outcome="label", output="nothing", margin=0.1),
    }
    log.told(log.calls(False, [1]), "blue", "words")
    log.told(log.calls(True, [9_001]), "red", "words")
    made = rollout(step(0.1), metrics=metrics)
    assert log.seen(made).metrics == {"never": (), "words": (), "match": ()}
    judged = look(log.places, made).judgement
    assert (judged.verdict, judged.enough) == ("inconclusive", False)


def test_a_quantile_gives_every_unit_the_same_weight(log):
    log.calls(False, [1] * 98 + [2, 3], latency_ms=5)
    log.calls(True, [9_001] * 3, latency_ms=7)
    log.calls(True, [9_002], latency_ms=9)
    (seen,) = log.seen(rollout(step(0.1), metrics={"p99": Metric(kind="latency")})).metrics["p99"]
    assert seen.units == (3, 2) and seen.weights[0].sum() == pytest.approx(3)
    assert seen.weights[1].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])


def test_a_covariate_takes_out_units_that_have_none(log):
    metrics = {"spent": Metric(kind="mean", outcome="spent", covariate="before", margin=1)}
    for new, units in ((False, [1, 2, 3]), (True, [9_001, 9_002])):
        ids = log.calls(new, units)
        log.told(ids, 3, "spent")
        log.told(ids[1:], 2, "before")
    (seen,) = log.seen(rollout(step(0.1), metrics=metrics)).metrics["spent"]
    assert seen.counts == (2, 1) and [one.tolist() for one in seen.covariates] == [[2, 2], [2]]


def test_traffic_that_is_divided_otherwise_is_found_before_anything_else(log):
    log.calls(False, list(range(1, 601)))
    log.calls(True, list(range(9_001, 9_401)), status=500)
    judged = look(log.whole(), rollout(step(0.1))).judgement
    assert "40.00% of 1000, planned were 10.00%" in judged.mismatch and not judged.metrics


def test_a_worse_one_is_found_and_an_equal_one_is_not(log):
    random = np.random.default_rng(5)
    for new, first, worse in ((False, 1, 0.02), (True, 5_001, 0.3)):
        bad = random.random(400) < worse
        units = np.arange(first, first + 400)
        log.calls(new, units[~bad].tolist())
        log.calls(new, units[bad].tolist(), status=500)
    assert look(log.whole(), rollout(step(0.5), metrics={"errors": Metric(kind="errors")})).judgement.verdict == "worse"


def test_all_at_once_is_compared_with_as_long_before(log):
    log.calls(False, [1, 2], at=-5, reason="only-arm")
    log.calls(False, [3], at=-50, reason="only-arm")
    log.calls(True, [1, 2, 7_000], at=5)
    log.calls(False, [4], at=2)
    made = rollout(Stratum(since=BEGIN_S + 1, share=0.5, buckets=((), ALL)), strategy="blue-green", bake_s=10)
    (seen,) = log.seen(made).metrics["errors"]
    assert seen.counts == (2, 3), "what the old version answered after the flip is neither"


def test_after_a_pause_it_is_still_compared_with_the_time_before_the_flip(log):
    log.calls(False, [1, 2], at=-5, reason="only-arm")
    log.calls(True, [1, 2, 7_000], at=5)
    # Resumed at 100: nothing of that moment says when the traffic changed.
    made = rollout(
        Stratum(since=BEGIN_S + 1, share=0.5, buckets=((), ALL)), strategy="blue-green", bake_s=10, since=BEGIN_S + 100
    )
    (seen,) = log.seen(made).metrics["errors"]
    assert seen.counts == (2, 3)


def shadowed(log):
    old = log.calls(False, [1, 2, 3, 4], value=0.5)
    log.calls(False, [5], value=0.5)
    new = log.calls(True, [None] * 3, ids=old[:3], value=0.502, reason="shadow")
    log.calls(True, [None], ids=old[3:], value=0.9, reason="shadow")
    log.calls(True, [None], ids=["nobody"], reason="shadow")
    return old, new


def test_a_shadow_is_compared_on_the_calls_it_got(log):
    shadowed(log)
    made = rollout(Stratum(since=BEGIN_S, share=0.5), strategy="shadow")
    seen = log.seen(made)
    (errors,), (differs,) = seen.metrics["errors"], seen.metrics["disagreement"]
    assert errors.counts == (4, 4), "each as the unit whose call it was"
    assert differs.challenger.tolist() == [0, 0, 0, 1]


def test_the_report_says_where_and_how_a_shadow_differs(log):
    old, _ = shadowed(log)
    made = rollout(Stratum(since=BEGIN_S, share=0.5), strategy="shadow")
    found = make_report(log.whole(), made, BEGIN_S + 60)
    assert (found.disagreement.rows, found.disagreement.rate) == (4, 0.25)
    assert found.disagreement.shift == pytest.approx((3 * 0.002 + 0.4) / 4)
    assert [(flip.request_id, flip.champion, flip.challenger) for flip in found.disagreement.flips] == [
        (old[3], "0.5", "0.9")
    ]
    assert {(one.field, one.value): one.disagreement for one in found.disagreement.slices}[("city", "c0")] == 0.5
    assert [(one.version, one.calls) for one in found.arms] == [("churn/1", 4), ("churn/2", 4)]
    assert len(found.series["errors"]) == 30 and found.series["errors"][-1].judged.counts == (4, 4)
    json.loads(msgspec.json.encode(found))


def test_a_bandit_leans_to_what_earns_more_and_says_the_same_again(log):
    metrics = {"bought": Metric(kind="rate", outcome="bought", goal=True), "errors": Metric(kind="errors")}
    made = rollout(step(0.5), strategy="ab", policy="thompson", metrics=metrics, least_samples=50)
    for new, first, rate in ((False, 1, 0.1), (True, 5_001, 0.4)):
        ids = log.calls(new, list(range(first, first + 100)))
        log.told(ids[: int(100 * rate)], True, "bought")
        log.told(ids[int(100 * rate) :], False, "bought")
    first = look(log.whole(), made)
    assert first.weight == 9500 and look(log.places, made).weight == first.weight
    few = msgspec.structs.replace(made, plan=msgspec.structs.replace(made.plan, least_samples=500))
    assert look(log.places, few).weight is None


def test_nothing_is_judged_before_anything_counts(log):
    made = rollout(step(0.5))
    state = msgspec.structs.replace(made.state, counted=None, strata=())
    assert look(log.places, msgspec.structs.replace(made, state=state)).judgement is None


def test_one_that_fails_every_call_has_no_latency_and_is_worse_all_the_same(log):
    log.calls(False, list(range(1, 401)))
    log.calls(True, list(range(5_001, 5_401)), status=500)
    judged = look(log.whole(), rollout(step(0.5), least_samples=100)).judgement
    assert (judged.verdict, judged.enough) == ("worse", False) and judged.metrics["latency-p99"].counts == (400, 0)


def test_outcomes_and_outputs_of_other_types_are_compared_as_what_they_say(log):
    metrics = {"match": Metric(kind="match", outcome="label", output="score", margin=0.1)}
    log.told(log.calls(False, [1], value=1), "1")
    log.told(log.calls(False, [2], value=1), "one")
    log.told(log.calls(True, [9_001], value=0), "1")
    (seen,) = log.seen(rollout(step(0.1), metrics=metrics)).metrics["match"]
    assert (seen.baseline.tolist(), seen.challenger.tolist()) == ([1, 0], [0])


def test_labels_shift_too_and_an_output_that_one_does_not_have_is_no_disagreement(log):
    words = np.array(["yes", "no"], object)
    old = log.calls(False, [1, 2], outputs={"label": words})
    log.calls(True, [1, 2], ids=old, reason="shadow", outputs={"other": words})
    made = rollout(Stratum(since=BEGIN_S, share=0.5), strategy="shadow")
    seen = log.seen(made)
    assert seen.metrics["disagreement"] == ()
    with open_calls(log.places, made) as views:
        shift = msgspec.structs.replace(made, plan=RolloutPlan(metrics={"shift": Metric(kind="shift", output="label")}))
        assert len(samples(views, shift).metrics["shift"][0].baseline) == 2


def test_lists_of_words_can_shift(log):
    words = np.array([["a", "b"], ["a", "c"]], object)
    log.calls(False, [1, 2], outputs={"tags": words})
    log.calls(True, [9_001, 9_002], outputs={"tags": words})
    (seen,) = log.seen(rollout(step(0.1), metrics={"shift": Metric(kind="shift")})).metrics["shift"]
    assert sorted(seen.baseline) == sorted(seen.challenger) and len(set(seen.baseline)) == 2
