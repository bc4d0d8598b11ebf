"""Made-up rollouts: the stated error holds, what is there is found, and the same seed gives the same answer."""

import json

import pytest

from penstock.core.errors import InvalidInput
from penstock.rollout.simulate import Traffic, simulate

# Were the chance 5 %, more than this of 60 runs would be wrong once in 2 000 times.
MOST = 9


@pytest.mark.parametrize(
    "what",
    [
        {"metric": "rate", "baseline": 0.07},
        {"metric": "rate", "baseline": 0.07, "share": 0.1},
        {"metric": "rate", "baseline": 0.07, "correlated": True},
        {"metric": "mean", "baseline": 50.0, "sigma": 1.0},
        {"metric": "mean", "baseline": 50.0, "correlated": True},
        {"metric": "quantile", "baseline": 50.0, "quantile": 0.9},
        {"metric": "quantile", "baseline": 50.0, "quantile": 0.9, "correlated": True},
    ],
)
def test_an_equal_version_is_rarely_called_otherwise(what):
    found = simulate(Traffic(**what, effect=0.0, most_samples=3000, batch=300), runs=60, seed=1)
    assert found.better + found.worse <= MOST
    assert found.better + found.worse + found.inconclusive == found.runs == 60


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        ({"metric": "rate", "baseline": 0.07, "effect": 0.06}, "worse"),
        ({"metric": "rate", "baseline": 0.2, "effect": 0.1, "higher_is_better": True}, "better"),
        ({"metric": "rate", "baseline": 0.1, "effect": 0.2, "correlated": True}, "worse"),
        ({"metric": "mean", "baseline": 50.0, "effect": -10.0}, "better"),
        ({"metric": "quantile", "baseline": 50.0, "effect": 0.5, "quantile": 0.9}, "worse"),
        ({"metric": "quantile", "baseline": 50.0, "effect": 1.0, "quantile": 0.9, "correlated": True}, "worse"),
    ],
)
def test_a_large_difference_is_found(what, verdict):
    found = simulate(Traffic(**what, most_samples=4000), runs=20, seed=1)
    assert getattr(found, verdict) == 20 and 0 < found.median_samples <= found.p95_samples <= 4000


def test_the_same_seed_gives_the_same_answer():
    traffic = Traffic(metric="rate", baseline=0.1, effect=0.03, most_samples=2000)
    assert simulate(traffic, runs=10, seed=3) == simulate(traffic, runs=10, seed=3)
    assert simulate(traffic, runs=10, seed=3) != simulate(traffic, runs=10, seed=4)


@pytest.mark.parametrize(
    ("what", "runs"),
    [
        ({"metric": "rate", "baseline": 0.9, "effect": 0.2}, 1), ({"metric": "mean", "baseline": 0.0, "effect": 1}, 1),
        ({"metric": "rate", "baseline": 0.1, "effect": 0.0, "share": 1.0}, 1),
        ({"metric": "rate", "baseline": 0.1, "effect": 0.0, "batch": 0}, 1),
        ({"metric": "rate", "baseline": 0.1, "effect": 0.0}, 0),
        ({"metric": "quantile", "baseline": 1.0, "effect": -1.0}, 1),
        ({"metric": "rate", "baseline": float("nan"), "effect": 0.0}, 1),
        ({"metric": "mean", "baseline": float("nan"), "effect": 0.0}, 1),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(what, runs):
    with pytest.raises(InvalidInput) as refused:
        simulate(Traffic(**what), runs=runs, seed=1)
    assert refused.value.code == "invalid-simulation"


def test_the_command(run):
    words = ("experiment", "simulate", "--metric", "rate", "--baseline", 0.07, "--seed", 1, "--runs", 5)
    found = json.loads(run(*words, "--effect", "x3", "--json").stdout)
    keys = {"runs", "better", "worse", "inconclusive", "median_samples", "p95_samples", "alpha"}
    assert set(found) == keys and found["worse"] == 5
    assert "worse              5 of 5" in run(*words, "--effect", "0.1").stdout
    assert "[invalid-choice]" in run(*words, "--effect", "much", code=1).stderr
    assert "[invalid-simulation]" in run(*words, "--effect", "2", code=1).stderr
