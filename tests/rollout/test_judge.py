"""The verdict on each kind of metric, and what several come to."""

import numpy as np
import pytest

from penstock.rollout.judge import Division, judge, judge_metric, ratio_problem
from penstock.rollout.metrics import Metric
from penstock.rollout.samples import Seen, joined

RNG = np.random.default_rng(1)
ALPHA = 0.05


def failing(rate, count):
    return (np.arange(count) < rate * count).astype(float)[RNG.permutation(count)]


def seen(baseline, challenger, share=0.5, **more):
    return (Seen(share=share, baseline=np.asarray(baseline), challenger=np.asarray(challenger), **more),)


def verdict(metric, *what, **more):
    return judge_metric(metric, seen(*what, **more), ALPHA).verdict


@pytest.mark.parametrize(
    ("rates", "count", "expected"),
    [
        ((0.07, 0.07), 20_000, "not-worse"),
        ((0.07, 0.07), 500, "inconclusive"),
        ((0.07, 0.15), 2_000, "worse"),
        ((0.10, 0.05), 4_000, "better"),
        # Nothing fails anywhere, as on most days: some hundred calls show that it is not worse than the margin.
        ((0.0, 0.0), 300, "inconclusive"),
        ((0.0, 0.0), 1000, "not-worse"),
        ((0.0, 1.0), 20, "worse"),
        # Surely worse, but surely within what was allowed.
        ((0.07, 0.073), 400_000, "not-worse"),
    ],
)
def test_shares(rates, count, expected):
    assert verdict(Metric(kind="errors", margin=0.01), *(failing(rate, count) for rate in rates)) == expected


def test_a_share_that_is_better_the_higher_it_is():
    metric = Metric(kind="match", outcome="label", goal=True)
    assert verdict(metric, failing(0.7, 4000), failing(0.8, 4000)) == "better"
    assert verdict(metric, failing(0.8, 4000), failing(0.7, 4000)) == "worse"


def test_a_canary_of_one_percent_is_compared_with_all_the_others():
    found = judge_metric(Metric(kind="errors"), seen(failing(0.01, 99_000), failing(0.3, 900), share=0.01), ALPHA)
    assert found.verdict == "worse" and found.counts == (99_000, 900)


def test_means_quantiles_and_distances():
    slow, fast = np.exp(RNG.normal(3, 0.5, (2, 6000)))
    for metric in (Metric(kind="latency"), Metric(kind="cost")):
        assert verdict(metric, fast, slow * 2) == "worse"
        assert verdict(metric, fast * 2, slow) == "better"
        assert verdict(metric, fast[:50], slow[:50]) == "inconclusive"
    assert verdict(Metric(kind="cost", margin=0.1), fast, slow) == "not-worse"
    assert verdict(Metric(kind="latency", quantile=0.5, margin=0.2), fast, slow) == "not-worse"
    assert verdict(Metric(kind="shift"), np.log(fast), np.log(slow) + 1) == "worse"
    assert verdict(Metric(kind="shift", margin=0.2), np.log(fast), np.log(slow)) == "not-worse"


def test_bounded_means_and_covariates():
    before = RNG.normal(size=(2, 3000))
    after = before + 0.1 * RNG.normal(size=(2, 3000)) + [[0.0], [0.03]]
    plain = Metric(kind="mean", outcome="revenue", goal=True)
    adjusted = Metric(kind="mean", outcome="revenue", goal=True, covariate="before")
    assert verdict(plain, *after) == "inconclusive"
    assert verdict(adjusted, *after, covariates=(before[0], before[1])) == "better"
    bounded = Metric(kind="mean", outcome="stars", bounds=(1, 5), margin=0.1)
    stars = RNG.integers(1, 6, (2, 40_000)).astype(float)
    assert verdict(bounded, *stars) == "not-worse"
    assert verdict(bounded, stars[0], np.maximum(1, stars[1] - 1)) == "worse"


def test_disagreement_of_a_shadow():
    metric = Metric(kind="disagreement", margin=0.05)
    assert verdict(metric, [], failing(0.01, 2000)) == "not-worse"
    assert verdict(metric, [], failing(0.2, 2000)) == "worse"
    assert verdict(metric, [], failing(0.04, 200)) == "inconclusive"


METRICS = {"errors": Metric(kind="errors"), "bought": Metric(kind="rate", outcome="bought", goal=True)}
SAME, MORE, LESS = (seen(failing(0.2, 5000), failing(rate, 5000)) for rate in (0.2, 0.3, 0.1))
WELL, BROKEN = seen(failing(0.0, 5000), failing(0.0, 5000)), seen(failing(0.0, 5000), failing(0.2, 5000))
FEW = seen(failing(0, 200), failing(0, 200))


@pytest.mark.parametrize(
    ("errors", "bought", "expected"),
    [
        (WELL, MORE, "better"), (WELL, SAME, "not-worse"), (WELL, LESS, "worse"), (BROKEN, MORE, "worse"),
        (FEW, MORE, "inconclusive"), ((), MORE, "inconclusive"),
    ],
)  # fmt: skip
def test_what_several_come_to(errors, bought, expected):
    made = judge(METRICS, {"errors": errors, "bought": bought}, alpha=ALPHA, least_samples=100)
    assert made.verdict == expected and (made.summary or not made.enough)
    assert sum(one.alpha for one in made.metrics.values()) <= ALPHA


def test_too_little_data_is_no_verdict_whatever_it_looks_like():
    made = judge(METRICS, {"errors": BROKEN, "bought": LESS}, alpha=ALPHA, least_samples=5001)
    assert (made.verdict, made.enough) == ("inconclusive", False)
    made = judge({}, {}, alpha=ALPHA, least_samples=1)
    assert (made.verdict, made.enough) == ("inconclusive", False)


def test_traffic_that_was_not_divided_as_planned_is_not_judged():
    made = judge(
        METRICS, {"errors": BROKEN}, alpha=ALPHA, least_samples=1, divided=Division(counts=(9_000, 1_500), share=0.1)
    )
    assert made.verdict == "inconclusive" and "14.29%" in made.mismatch and not made.metrics
    assert not ratio_problem((9_010, 990), 0.1, 0.001) and not ratio_problem((0, 0), 0.1, 0.001)


def test_arms_are_matched_within_strata():
    strata = seen(np.zeros(900), np.zeros(100), share=0.1) + seen(np.ones(100), np.ones(900), share=0.9)
    baseline, challenger = joined(strata)
    assert baseline.mean() == challenger.mean() == 0.5
