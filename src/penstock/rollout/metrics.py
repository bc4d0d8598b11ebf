"""What can be measured of two versions, and by how much the new one may be worse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.core.errors import InvalidInput

Kind = Literal["errors", "saturation", "latency", "cost", "shift", "disagreement", "match", "rate", "mean"]
Form = Literal["share", "mean", "quantile", "distance", "agreement"]

# How each kind is judged: shares of units and bounded means exactly, by betting; means asymptotically; and so on.
FORMS: Mapping[Kind, Form] = {
    "errors": "share",
    "saturation": "share",
    "match": "share",
    "rate": "share",
    "latency": "quantile",
    "cost": "mean",
    "mean": "mean",
    "shift": "distance",
    "disagreement": "agreement",
}
_OUTCOMES = frozenset({"match", "rate", "mean"})
_MARGINS: Mapping[Kind, float] = {"errors": 0.01, "saturation": 0.01, "latency": 0.25, "cost": 0.25, "shift": 0.1}


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One thing that is measured of the new version and, at the same time, of the old one.

    `kind`:
    - `errors`: share of calls that failed; `saturation`: share refused or late because there was too much to do;
    - `latency`: the `quantile` of milliseconds; `cost`: mean milliseconds of a call;
    - `shift`: distance of the distributions of a numeric output (Kolmogorov and Smirnov's);
    - `disagreement`: share of copied calls that a shadow answers otherwise than the champion;
    - `match`: share of outcomes that equal the output; `rate`: share of outcomes that are true; `mean`: their mean.

    A guardrail passes once its harm is surely below `margin` and fails once it is surely above 0 and not below the
    margin. Units of `margin`: a share for shares and distances, a fraction of the old version's for `latency` and
    `cost`, the outcome's own for `mean`. With `goal` it is what the new version should do better at.

    `outcome` is the name of the outcome, `output` that of the output (default: the first). `better` says which
    direction is. `bounds` of a mean let it be judged exactly; `covariate` is an outcome known before, which takes noise
    out of a mean (CUPED).
    """

    kind: Kind
    margin: Annotated[float, Meta(ge=0)] | None = None
    goal: bool = False
    guardrail: bool | None = None
    better: Literal["lower", "higher"] | None = None
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.99
    outcome: str = ""
    output: str = ""
    bounds: tuple[float, float] | None = None
    covariate: str = ""

    @property
    def form(self) -> Form:
        """How it is judged."""
        return "share" if self.bounds is not None else FORMS[self.kind]

    @property
    def guards(self) -> bool:
        """Whether it can stop a rollout: every metric, unless it is a goal alone."""
        return not self.goal if self.guardrail is None else self.guardrail

    @property
    def lower_is_better(self) -> bool:
        """The direction; what is told of outcomes is better the more of it there is."""
        return (self.better or ("higher" if self.kind in _OUTCOMES else "lower")) == "lower"

    @property
    def allowed(self) -> float:
        """The margin, or the usual one of the kind; 0 for a goal that has none."""
        return self.margin if self.margin is not None else 0.0 if self.goal else _MARGINS.get(self.kind, 0.0)

    @property
    def relative(self) -> bool:
        """Whether the margin is a fraction of the old version's value."""
        return self.kind in ("latency", "cost")


_SERVICE = {
    "errors": Metric(kind="errors"),
    "saturation": Metric(kind="saturation"),
    "latency-p99": Metric(kind="latency"),
}
DEFAULT_METRICS: Mapping[bool, dict[str, Metric]] = {
    False: _SERVICE,
    True: {"errors": Metric(kind="errors"), "disagreement": Metric(kind="disagreement", margin=0.05)},
}
"""What is judged where nothing is said, by whether the new version is a shadow."""


def check_metric(metric: Metric, path: str, *, shadowing: bool) -> None:
    """Raise InvalidInput (`invalid-rollout`) for the first thing that cannot be meant."""
    kind = metric.kind
    if (kind in _OUTCOMES) != bool(metric.outcome):
        raise _invalid(
            path, f"{kind} {'needs the name of an' if kind in _OUTCOMES else 'has no'} outcome", "outcome: label"
        )
    if kind == "disagreement" and not shadowing:
        raise _invalid(path, f"{kind} compares answers to the same call: only shadows have them", "strategy: shadow")
    if shadowing and kind in ("saturation", "latency"):
        raise _invalid(path, f"a shadow has no {kind} that a caller would see")
    if metric.margin is None and metric.guards and kind not in _MARGINS:
        raise _invalid(path, f"a guardrail of {kind} needs a margin", "margin: how much worse it may be")
    if metric.bounds is not None and (kind != "mean" or not metric.bounds[0] < metric.bounds[1]):
        raise _invalid(path, "bounds are [low, high] of a mean")
    if metric.covariate and (kind != "mean" or metric.bounds is not None):
        raise _invalid(path, "a covariate is for a mean without bounds")
    if metric.better is not None and kind not in _OUTCOMES:
        raise _invalid(path, f"{kind} is better when it is lower")
    if metric.goal and kind in ("shift", "disagreement"):
        raise _invalid(path, f"{kind} is no goal: another answer is neither better nor worse")


def _invalid(path: str, message: str, hint: str = "") -> InvalidInput:
    return InvalidInput("invalid-rollout", f"{path}: {message}", hint=hint)
