"""What a rollout may be told, and what is refused because it could not be meant."""

import msgspec
import pytest

from penstock.core.errors import InvalidInput
from penstock.rollout.metrics import Metric
from penstock.rollout.plan import RolloutPlan, check_plan

GOAL = {"accuracy": Metric(kind="match", outcome="label", goal=True)}


@pytest.mark.parametrize(
    "plan",
    [
        RolloutPlan(), RolloutPlan(steps=(1, 5, 25)), RolloutPlan(ramp_s=600), RolloutPlan(strategy="all-at-once"),
        RolloutPlan(strategy="blue-green", bake_s=5), RolloutPlan(strategy="shadow", share=10, promote=False),
        RolloutPlan(strategy="champion-challenger", period_s=60), RolloutPlan(require="better", metrics=GOAL),
        RolloutPlan(strategy="ab", share=20, policy="thompson", metrics={**GOAL, "errors": Metric(kind="errors")}),
    ],
)  # fmt: skip
def test_what_can_be_meant(plan):
    check_plan(plan, "churn")
    assert msgspec.json.decode(msgspec.json.encode(plan), type=RolloutPlan) == plan


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (RolloutPlan(strategy="blue-green", steps=(5,)), "churn.steps: blue-green has no steps"),
        (RolloutPlan(strategy="all-at-once", bake_s=5), "it has alpha, every_s, metrics"),
        (RolloutPlan(strategy="ab", require="better"), "ab has no require"),
        (RolloutPlan(steps=(5, 25), ramp_s=10), "either steps or ramp_s"),
        (RolloutPlan(steps=(25, 5)), "must rise"),
        (RolloutPlan(steps=(5, 100)), "stay below 100"),
        (RolloutPlan(steps=(0.001,)), "finer than 0.01 percent"),
        (RolloutPlan(require="better"), "no metric is a goal"),
        (RolloutPlan(metrics=GOAL), "no guardrail"),
        (RolloutPlan(strategy="ab", policy="thompson"), "exactly one metric with goal"),
        (RolloutPlan(metrics={"a b": Metric(kind="errors")}), "metric"),
        (RolloutPlan(metrics={"x": Metric(kind="match", margin=0.1)}), "needs the name of an outcome"),
        (RolloutPlan(metrics={"x": Metric(kind="errors", outcome="label")}), "has no outcome"),
        (RolloutPlan(metrics={"x": Metric(kind="disagreement", margin=0.1)}), "only shadows have them"),
        (RolloutPlan(strategy="shadow", metrics={"x": Metric(kind="latency")}), "no latency that a caller would see"),
        (RolloutPlan(metrics={"x": Metric(kind="rate", outcome="bought")}), "needs a margin"),
        (RolloutPlan(metrics={"x": Metric(kind="errors", bounds=(0, 1))}), "bounds are"),
        (RolloutPlan(metrics={"x": Metric(kind="mean", outcome="y", bounds=(1, 1), margin=1)}), "bounds are"),
        (RolloutPlan(metrics={"x": Metric(kind="errors", covariate="y")}), "covariate"),
        (RolloutPlan(metrics={"x": Metric(kind="errors", better="higher")}), "better when it is lower"),
        (RolloutPlan(metrics={"x": Metric(kind="shift", goal=True), "errors": Metric(kind="errors")}), "is no goal"),
    ],
)
def test_what_cannot_be_meant(plan, says):
    with pytest.raises(InvalidInput) as refused:
        check_plan(plan, "churn")
    assert refused.value.code in ("invalid-rollout", "invalid-name") and says in str(refused.value)


@pytest.mark.parametrize("wrong", [{"alpha": 0}, {"alpha": 0.6}, {"share": 101}, {"bake_s": -1}, {"stepz": [5]},
                                   {"least_samples": 0}, {"strategy": "yolo"}])  # fmt: skip
def test_values_out_of_range_are_refused_when_they_are_read(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, RolloutPlan)
