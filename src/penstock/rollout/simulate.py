"""Rollouts on traffic that is made up, judged by the very judge that judges real ones.

It plans (how much traffic does it take to see such a difference?) and it proves (how often is an equal version called
worse or better?). The same seed gives the same answer.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput
from penstock.measures.arrays import Floats
from penstock.rollout.judge import judge
from penstock.rollout.metrics import Metric
from penstock.rollout.samples import Seen

Kind = Literal["rate", "mean", "quantile"]
MOST_RUNS = 100_000
MOST_SAMPLES = 10_000_000
_HEAVIEST_UNIT = 200


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What is made up.

    `baseline` is the old version's rate, mean, or `quantile`; `effect` what the new one has more of it: added to a rate
    or a mean, relative to a quantile (0.2 is 20 % more). Means and quantiles are of lognormal values with `sigma`.
    `share` is the new version's part of the traffic. With `correlated` calls come from units that make 1 to 200 calls
    each, most of them few, which resemble each other; then samples are units. Each rollout is judged after every
    `batch` samples of each arm (of the smaller one) and ends inconclusive after `most_samples`.
    """

    metric: Kind
    baseline: float
    effect: float
    quantile: float = 0.99
    sigma: float = 0.5
    share: float = 0.5
    correlated: bool = False
    batch: int = 200
    most_samples: int = 12_000
    higher_is_better: bool = False


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """How the rollouts ended; samples are those of the smaller arm when there was a verdict."""

    runs: int
    better: int
    worse: int
    inconclusive: int
    median_samples: float | None
    p95_samples: float | None
    alpha: float


def simulate(traffic: Traffic, *, runs: int, seed: int, alpha: float = 0.05, least_samples: int = 100) -> Simulated:
    """Judge `runs` rollouts; raises InvalidInput (`invalid-simulation`) for what cannot be.

    Example:
        >>> traffic = Traffic(metric="rate", baseline=0.07, effect=0.2, most_samples=1000)
        >>> simulate(traffic, runs=20, seed=1).worse
        20
    """
    _check(traffic, runs, alpha)
    metric = _metric(traffic)
    ended: list[tuple[str, int]] = []
    for child in np.random.SeedSequence(seed).spawn(runs):
        rng = np.random.default_rng(child)
        ended.append(_run(traffic, metric, rng, alpha, least_samples))
    samples = [count for verdict, count in ended if verdict != "inconclusive"]
    verdicts = [verdict for verdict, _ in ended]
    return Simulated(
        runs=runs,
        better=verdicts.count("better"),
        worse=verdicts.count("worse"),
        inconclusive=verdicts.count("inconclusive"),
        median_samples=float(np.median(samples)) if samples else None,
        p95_samples=float(np.quantile(samples, 0.95)) if samples else None,
        alpha=alpha,
    )


def _run(traffic: Traffic, metric: Metric, rng: np.random.Generator, alpha: float, least: int) -> tuple[str, int]:
    """The first verdict, and how many samples of the smaller arm it took."""
    source = _Units(traffic, rng) if traffic.correlated else _Calls(traffic, rng)
    for count in range(traffic.batch, traffic.most_samples + 1, traffic.batch):
        seen = source.seen(count)
        made = judge({"simulated": metric}, {"simulated": (seen,)}, alpha=alpha, least_samples=least)
        if made.verdict != "inconclusive":
            return made.verdict, min(seen.counts)
    return "inconclusive", traffic.most_samples


class _Calls:
    """Independent calls of both arms, all drawn at once and seen little by little."""

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        self._share = traffic.share
        smaller = min(traffic.share, 1 - traffic.share)
        self._times = ((1 - traffic.share) / smaller, traffic.share / smaller)
        counts = [int(traffic.most_samples * times) for times in self._times]
        self._arms = [_draw(traffic, rng, count, new=new) for new, count in zip((False, True), counts, strict=True)]

    def seen(self, count: int) -> Seen:
        """When the smaller arm has `count`."""
        baseline, challenger = (arm[: int(count * times)] for arm, times in zip(self._arms, self._times, strict=True))
        return Seen(share=self._share, baseline=baseline, challenger=challenger)


class _Units:
    """Calls of units that resemble themselves: each arm's calls come in a random order, and units' values ripen."""

    def __init__(self, traffic: Traffic, rng: np.random.Generator) -> None:
        self._traffic = traffic
        self._arms = [self._arm(rng, new=new) for new in (False, True)]

    def _arm(self, rng: np.random.Generator, *, new: bool) -> tuple[Floats, Floats]:
        traffic = self._traffic
        sizes = np.minimum(np.ceil(rng.pareto(1.0, traffic.most_samples) + 1e-9), _HEAVIEST_UNIT).astype(int)
        unit = np.repeat(np.arange(len(sizes)), sizes)
        values = _draw_units(traffic, rng, sizes, new=new)
        order = rng.permutation(len(unit))
        return unit[order].astype(np.float64), values[order]

    def seen(self, count: int) -> Seen:
        """When as many calls came as `count` of `most_samples` units make."""
        part = count / self._traffic.most_samples
        arms = [self._means(unit, values, int(len(unit) * part)) for unit, values in self._arms]
        if self._traffic.metric != "quantile":
            return Seen(share=0.5, baseline=arms[0][0], challenger=arms[1][0])
        calls = [values[: int(len(unit) * part)] for unit, values in self._arms]
        return Seen(
            share=0.5, baseline=calls[0], challenger=calls[1],
            weights=(arms[0][1], arms[1][1]), units=(len(arms[0][0]), len(arms[1][0])),
        )  # fmt: skip

    def _means(self, unit: Floats, values: Floats, count: int) -> tuple[Floats, Floats]:
        """Each seen unit's mean, in the order of first calls; and each call's weight."""
        _, first, inverse, calls = np.unique(unit[:count], return_index=True, return_inverse=True, return_counts=True)
        means = np.bincount(inverse, values[:count]) / calls
        return means[np.argsort(first)], 1 / calls[inverse]


def _draw(traffic: Traffic, rng: np.random.Generator, count: int, *, new: bool) -> Floats:
    if traffic.metric == "rate":
        rate = traffic.baseline + (traffic.effect if new else 0.0)
        return (rng.random(count) < rate).astype(np.float64)
    return _scale(traffic, new=new) * np.exp(rng.normal(0, traffic.sigma, count))


def _draw_units(traffic: Traffic, rng: np.random.Generator, sizes: Floats, *, new: bool) -> Floats:
    """Calls of a unit share half of what varies."""
    unit = np.repeat(np.arange(len(sizes)), sizes.astype(int))
    if traffic.metric == "rate":
        rate = traffic.baseline + (traffic.effect if new else 0.0)
        own = rng.beta(rate, 1 - rate, len(sizes)) if 0 < rate < 1 else np.full(len(sizes), rate)
        return (rng.random(len(unit)) < own[unit]).astype(np.float64)
    half = traffic.sigma * np.sqrt(0.5)
    logs = rng.normal(0, half, len(sizes))[unit] + rng.normal(0, half, len(unit))
    return _scale(traffic, new=new) * np.exp(logs)


def _scale(traffic: Traffic, *, new: bool) -> float:
    """What a lognormal value of median 1 is multiplied by."""
    if traffic.metric == "mean":
        mean = traffic.baseline + (traffic.effect if new else 0.0)
        return float(mean / np.exp(traffic.sigma**2 / 2))
    from scipy.stats import norm

    value = traffic.baseline * (1 + (traffic.effect if new else 0.0))
    return float(value / np.exp(traffic.sigma * norm.ppf(traffic.quantile)))


def _metric(traffic: Traffic) -> Metric:
    """A metric that can be better or worse, and is allowed nothing."""
    if traffic.metric == "quantile":
        return Metric(kind="latency", quantile=traffic.quantile, margin=0.0, goal=True, guardrail=True)
    better: Literal["higher", "lower"] = "higher" if traffic.higher_is_better else "lower"
    return Metric(kind=traffic.metric, outcome="simulated", better=better, margin=0.0, goal=True, guardrail=True)


def _check(traffic: Traffic, runs: int, alpha: float) -> None:
    after = traffic.baseline + traffic.effect
    problem = ""
    if not 1 <= runs <= MOST_RUNS:
        problem = f"runs are 1 to {MOST_RUNS}"
    elif traffic.metric == "rate" and not (0 <= traffic.baseline <= 1 and 0 <= after <= 1):
        problem = f"a rate is between 0 and 1, not {traffic.baseline:g} and {after:g}"
    elif traffic.metric != "rate" and not traffic.baseline > 0:
        problem = "the baseline of a mean or a quantile is above 0"
    elif (traffic.metric == "mean" and after <= 0) or (traffic.metric == "quantile" and traffic.effect <= -1):
        problem = "with this effect nothing would be left"
    elif not 0 < traffic.share < 1 or (traffic.correlated and traffic.share != 0.5):
        problem = "the share is between 0 and 1; correlated calls are divided by halves"
    elif not 1 <= traffic.batch <= traffic.most_samples <= MOST_SAMPLES:
        problem = f"batch and most samples are 1 to {MOST_SAMPLES}, the batch the smaller one"
    elif not 0 < alpha <= 0.5 or not 0 < traffic.quantile < 1 or not traffic.sigma > 0:
        problem = "alpha is above 0 and at most 0.5, a quantile between 0 and 1, sigma above 0"
    if problem:
        raise InvalidInput("invalid-simulation", problem, hint="penstock experiment simulate --help")
