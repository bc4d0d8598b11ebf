"""What a rollout is told: the strategy, its pace, what is measured, and what a verdict leads to."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.core.errors import InvalidInput
from penstock.core.names import check_name
from penstock.rollout.metrics import DEFAULT_METRICS, Metric, check_metric

Percent = Annotated[float, Meta(gt=0, le=100)]
Seconds = Annotated[float, Meta(ge=0, le=366 * 86_400)]
Level = Annotated[float, Meta(gt=0, le=0.5)]
Strategy = Literal["all-at-once", "blue-green", "canary", "shadow", "ab", "champion-challenger"]

# Which of the fields that not every strategy has, each one has. What it does not have is refused, never ignored.
_FIELDS = {
    "all-at-once": frozenset[str](),
    "blue-green": frozenset({"bake_s", "least_samples", "timeout_s", "on_worse"}),
    "canary": frozenset(
        {"steps", "ramp_s", "bake_s", "least_samples", "timeout_s", "require", "on_worse", "fresh_baseline"}
    ),
    "shadow": frozenset({"share", "bake_s", "least_samples", "timeout_s", "promote", "on_worse"}),
    "ab": frozenset({"share", "bake_s", "least_samples", "timeout_s", "promote", "on_worse", "policy"}),
    "champion-challenger": frozenset({"share", "least_samples", "period_s"}),
}
_SHARED = frozenset({"strategy", "metrics", "alpha", "every_s"})
_RAMP_STEPS = 10
_DEFAULT_STEPS = (5.0, 25.0, 50.0)


class RolloutPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How another version takes over an endpoint.

    `strategy` is one of:
    - `canary`: by `steps` of percent (default 5, 25, 50, then all), or rising evenly over `ramp_s`;
    - `blue-green`: all traffic at once to the new version, the old one kept loaded for `bake_s`;
    - `shadow`: a copy of `share` percent of the calls, then all traffic if `promote`;
    - `ab`: `share` percent to the new version until there is a verdict; `policy: thompson` moves the share to whichever
      does better;
    - `champion-challenger`: a shadow that stays, judged anew every `period_s`;
    - `all-at-once`: all traffic as soon as it is loaded.

    A step lasts at least `bake_s` and until each arm has `least_samples` units (or requests, without a unit). All
    traffic follows only if `metrics` say so: `require: not-worse` wants every guardrail within its margin, `better` one
    goal better, too. A metric that is worse leads to `on_worse`. Where there is no verdict after `timeout_s`, somebody
    is asked. `alpha` is the chance that any of it is wrong, over the whole rollout and however often it is looked at;
    metrics are looked at every `every_s`. `fresh_baseline` compares with a newly loaded copy of the old version that
    gets as much traffic, instead of with all of the old one's.
    """

    strategy: Strategy = "canary"
    steps: tuple[Percent, ...] = ()
    ramp_s: Seconds | None = None
    share: Percent | None = None
    bake_s: Seconds = 60
    least_samples: Annotated[int, Meta(ge=1, le=10**9)] = 100
    timeout_s: Seconds = 86_400
    period_s: Annotated[float, Meta(ge=1)] = 3600
    every_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5
    require: Literal["not-worse", "better"] = "not-worse"
    promote: bool = True
    on_worse: Literal["roll-back", "pause"] = "roll-back"
    policy: Literal["fixed", "thompson"] = "fixed"
    fresh_baseline: bool = False
    alpha: Level = 0.05
    metrics: dict[str, Metric] = {}

    @property
    def judged(self) -> dict[str, Metric]:
        """The metrics by name; those of every service where none are given."""
        return self.metrics or DEFAULT_METRICS[self.strategy in SHADOWING]

    @property
    def weights(self) -> tuple[int, ...]:
        """The new version's share in each step, in ten-thousandths, without the last one, which is all.

        Example:
            >>> RolloutPlan(steps=(1, 12.5)).weights, RolloutPlan(strategy="ab").weights
            ((100, 1250), (5000,))
            >>> RolloutPlan(ramp_s=100).weights
            (1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000)
        """
        if self.strategy == "ab":
            return (round((self.share or 50) * 100),)
        if self.strategy != "canary":
            return ()
        if self.ramp_s is not None:
            return tuple(10_000 * step // _RAMP_STEPS for step in range(1, _RAMP_STEPS))
        return tuple(round(percent * 100) for percent in self.steps or _DEFAULT_STEPS)

    @property
    def step_s(self) -> float:
        """How long each step lasts at least, in seconds."""
        return self.bake_s if self.ramp_s is None else self.ramp_s / _RAMP_STEPS


SHADOWING = frozenset({"shadow", "champion-challenger"})


def read_plan(said: Mapping[str, Any], path: str) -> RolloutPlan:
    """A plan from plain values; raises InvalidInput (`invalid-rollout`).

    Example:
        >>> read_plan({"strategy": "canary", "steps": [5, 50]}, "plan").weights
        (500, 5000)
    """
    try:
        plan = msgspec.convert(said, RolloutPlan)
    except (msgspec.ValidationError, TypeError) as error:
        raise _invalid(path, str(error)) from None
    check_plan(plan, path)
    return plan


def check_plan(plan: RolloutPlan, path: str) -> None:
    """Raise InvalidInput (`invalid-rollout`) for the first thing that cannot be meant.

    Example:
        >>> check_plan(RolloutPlan(strategy="blue-green", steps=(5,)), "churn")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: churn.steps: blue-green has no steps; it has bake_s, least_samples, on_worse, timeout_s, and alpha, every_s, metrics [invalid-rollout]
    """  # noqa: E501 - one line, as it is printed
    own = _FIELDS[plan.strategy]
    for field in msgspec.structs.fields(RolloutPlan):
        name = field.name
        if name not in own | _SHARED and getattr(plan, name) != field.default:
            raise _invalid(
                f"{path}.{name}",
                f"{plan.strategy} has no {name}",
                "it has " + ", and ".join(", ".join(sorted(part)) for part in (own, _SHARED - {"strategy"}) if part),
            )
    if plan.steps and plan.ramp_s is not None:
        raise _invalid(f"{path}.ramp_s", "give either steps or ramp_s")
    weights = plan.weights
    if any(later <= earlier for earlier, later in itertools.pairwise(weights)) or 10_000 in weights:
        raise _invalid(f"{path}.steps", "the steps must rise, and stay below 100", "the last step, 100, is implied")
    if any(weight < 1 for weight in weights) or (plan.share is not None and round(plan.share * 100) < 1):
        raise _invalid(f"{path}.steps", "a share is finer than 0.01 percent")
    guarded = any(metric.guards for metric in plan.judged.values())
    if not guarded and plan.require == "not-worse" and plan.strategy != "ab":
        raise _invalid(f"{path}.metrics", "there is no guardrail, so nothing could show that it is not worse")
    if plan.require == "better" and not any(metric.goal for metric in plan.judged.values()):
        raise _invalid(f"{path}.require", "no metric is a goal that could be better", "goal: true on one of metrics")
    if plan.policy == "thompson" and sum(metric.goal for metric in plan.judged.values()) != 1:
        raise _invalid(f"{path}.policy", "thompson needs exactly one metric with goal: true, its reward")
    for name, metric in plan.judged.items():
        check_name(name, f"{path}.metrics: metric")
        check_metric(metric, f"{path}.metrics.{name}", shadowing=plan.strategy in SHADOWING)


def _invalid(path: str, message: str, hint: str = "") -> InvalidInput:
    return InvalidInput("invalid-rollout", f"{path}: {message}", hint=hint)
