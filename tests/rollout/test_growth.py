"""Units that come back through all the steps of a canary: an equal version is called worse or better by chance alone.

The rule of `evidence.py` (a unit counts for the new version in the step in which it got it, for the old one in every
step until then) is followed here on made-up customers, whose calls resemble each other and differ much in number.
"""

import os

import numpy as np

from penstock.measures.beta_binomial import rate_interval
from penstock.rollout.judge import judge
from penstock.rollout.metrics import Metric
from penstock.rollout.samples import Seen

RUNS = int(os.environ.get("PENSTOCK_TEST_COUNT", "20"))
STEPS = (0.05, 0.25, 0.5)
CUSTOMERS = 3000
LOOKS = 6
METRIC = {"errors": Metric(kind="errors", margin=0.0, goal=True, guardrail=True)}


def verdict(random):
    """The first verdict over the whole course, asked at every look of every step."""
    bucket = random.random(CUSTOMERS)
    rate = random.beta(0.2, 1.8, CUSTOMERS)
    calls_per_look = np.minimum(random.pareto(1.0, CUSTOMERS) + 0.05, 30)
    strata = []
    for step, share in enumerate(STEPS):
        new = bucket >= 1 - share
        had = bucket >= 1 - (STEPS[step - 1] if step else 0)
        counts, failed, first = np.zeros(CUSTOMERS), np.zeros(CUSTOMERS), np.full(CUSTOMERS, np.inf)
        for look in range(LOOKS):
            came = random.poisson(calls_per_look)
            failed += random.binomial(came, rate)
            first = np.where((counts == 0) & (came > 0), look + random.random(CUSTOMERS), first)
            counts += came
            order = np.argsort(first)
            order = order[np.isfinite(first[order]) & ~had[order]]
            means = failed[order] / counts[order]
            planned = (share - (STEPS[step - 1] if step else 0)) / (1 - (STEPS[step - 1] if step else 0))
            seen = Seen(share=planned, baseline=means[~new[order]], challenger=means[new[order]])
            made = judge(METRIC, {"errors": (*strata, seen)}, alpha=0.05, least_samples=50)
            if made.verdict != "inconclusive":
                return made.verdict
        strata.append(seen)
    return "inconclusive"


def test_customers_who_come_back_do_not_raise_the_error_rate():
    ended = [verdict(np.random.default_rng([4, run])) for run in range(RUNS)]
    wrong = RUNS - ended.count("inconclusive")
    # Not proof of 5 %, which the full count gives: more than this would be proof of the contrary.
    assert rate_interval(wrong, RUNS, 0.01).low <= 0.05, f"{wrong} of {RUNS}"
    if RUNS >= 1000:
        assert rate_interval(wrong, RUNS, 0.01).high <= 0.06, f"{wrong} of {RUNS}"
