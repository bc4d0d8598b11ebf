"""The verdict on a new version: one for each metric, then one for all. Pure, and valid however often it is asked.

Every metric gets an equal part of alpha, and half of that part for each direction. So the chance that anything said of
a rollout is ever wrong (worse, better, or not worse than the margin) is at most alpha, over its whole course. A small
part of alpha goes to the question whether the traffic was divided as planned, which is asked before any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from penstock.measures import asymptotic, cuped, paired_betting, quantile
from penstock.measures.arrays import Floats
from penstock.measures.beta_binomial import rate_interval
from penstock.measures.distance import kolmogorov_smirnov
from penstock.measures.interval import Interval
from penstock.measures.sample_ratio import always_valid_p
from penstock.rollout.judgement import Judged, Judgement, Verdict
from penstock.rollout.metrics import Metric
from penstock.rollout.samples import Seen, joined, total, weighted

RATIO_PART = 0.02
"""The part of alpha for the sample ratio."""


class Division(msgspec.Struct, frozen=True, kw_only=True):
    """The units (or calls) of each arm in the present step, and the share that was planned.

    `part` of what the question may cost is spent on this step.
    """

    counts: tuple[int, int]
    share: float
    part: float = 1.0


def judge(
    metrics: Mapping[str, Metric],
    seen: Mapping[str, tuple[Seen, ...]],
    *,
    alpha: float,
    least_samples: int,
    divided: Division | None = None,
) -> Judgement:
    """Judge what was `seen` of each metric, strata by strata, and before that whether the traffic was `divided` so."""
    level = alpha * RATIO_PART
    if divided is not None and (mismatch := ratio_problem(divided.counts, divided.share, level * divided.part)):
        return Judgement(verdict="inconclusive", enough=False, mismatch=mismatch, summary=mismatch)
    level = alpha * (1 - RATIO_PART) / max(1, len(metrics))
    judged = {name: judge_metric(metric, seen.get(name, ()), level) for name, metric in metrics.items()}
    known = {name: one for name, one in judged.items() if min(_counts(metrics[name], one)) >= least_samples}
    enough = bool(judged) and len(known) == len(judged)
    # What is proven of one metric does not wait for another: a version that fails every call has no latencies.
    worse = any(one.verdict == "worse" for one in known.values())
    verdict: Verdict = "worse" if worse else _overall(metrics, judged) if enough else "inconclusive"
    return Judgement(verdict=verdict, enough=enough, metrics=judged, summary=_summary(judged, verdict))


def judge_metric(metric: Metric, seen: tuple[Seen, ...], alpha: float) -> Judged:
    """The verdict on one metric with its part of alpha.

    Example:
        >>> some = (Seen(share=0.5, baseline=np.zeros(600), challenger=np.repeat([0.0, 1.0], [560, 40])),)
        >>> judge_metric(Metric(kind="errors"), some, 0.05).verdict
        'worse'
    """
    found = _interval(metric, seen, alpha)
    harm = found if metric.lower_is_better else Interval(-found.estimate, -found.high, -found.low)
    return Judged(
        verdict=_verdict(metric, harm),
        difference=_finite(found.estimate),
        low=_finite(found.low),
        high=_finite(found.high),
        counts=total(seen),
        margin=metric.allowed,
        alpha=alpha,
    )


def ratio_problem(counts: tuple[int, int], share: float, alpha: float) -> str:
    """How the traffic was divided, if that is not as planned; "" if it is."""
    if not sum(counts) or not 0 < share < 1 or always_valid_p(counts, (1 - share, share)) >= alpha:
        return ""
    found = counts[1] / sum(counts)
    return f"sample ratio: the new version has {found:.2%} of {sum(counts)}, planned were {share:.2%}"


def _interval(metric: Metric, seen: tuple[Seen, ...], alpha: float) -> Interval:
    """The difference of the new version from the old one; of distances and disagreement, the thing itself."""
    match metric.form:
        case "share":
            low, high = metric.bounds or (0.0, 1.0)
            width = high - low
            z = [paired_betting.pairs((one.baseline - low) / width, (one.challenger - low) / width, one.share)
                 for one in seen]  # fmt: skip
            found = paired_betting.interval(np.concatenate(z) if z else np.zeros(0), alpha)
            return Interval(found.estimate * width, found.low * width, found.high * width)
        case "mean":
            return _mean(metric, seen, alpha)
        case "quantile":
            return _quantile(metric, seen, alpha)
        case "distance":
            return kolmogorov_smirnov(*joined(seen), alpha)
    disagreeing = np.concatenate([one.challenger for one in seen]) if seen else np.zeros(0)
    return rate_interval(int(disagreeing.sum()), len(disagreeing), alpha)


def _mean(metric: Metric, seen: tuple[Seen, ...], alpha: float) -> Interval:
    strata = [_moments(one) for one in seen if min(one.counts) > 1]
    return asymptotic.relative(strata, alpha) if metric.relative else asymptotic.difference(strata, alpha)


def _moments(seen: Seen) -> tuple[asymptotic.Moments, asymptotic.Moments]:
    if seen.covariates is not None:
        return cuped.adjusted(_sums(seen.baseline, seen.covariates[0]), _sums(seen.challenger, seen.covariates[1]))
    return _plain(seen.baseline), _plain(seen.challenger)


def _plain(values: Floats) -> asymptotic.Moments:
    return asymptotic.Moments(len(values), float(values.mean()), float(values.var(ddof=1)))


def _sums(y: Floats, x: Floats) -> cuped.Sums:
    return cuped.Sums(len(y), y.sum(), (y * y).sum(), x.sum(), (x * x).sum(), (x * y).sum())


def _quantile(metric: Metric, seen: tuple[Seen, ...], alpha: float) -> Interval:
    if any(one.weights is not None for one in seen):
        arms = [
            quantile.interval(values, metric.quantile, alpha / 2, weights=weights, units=units)
            for values, weights, units in weighted(seen)
        ]
    else:
        arms = [quantile.interval(values, metric.quantile, alpha / 2) for values in joined(seen)]
    found = quantile.ratio(*arms)
    return Interval(found.estimate - 1, found.low - 1, found.high - 1)


def _verdict(metric: Metric, harm: Interval) -> Verdict:
    margin = metric.allowed
    if metric.form in ("distance", "agreement"):
        # They are never below 0: only what is beyond the margin is harm.
        return "not-worse" if harm.high < margin else "worse" if harm.low > margin else "inconclusive"
    if harm.high < 0:
        return "better"
    if harm.high < margin:
        return "not-worse"
    # Harm that is sure to be there, and not sure to be within what was allowed.
    return "worse" if harm.low > 0 and harm.estimate >= margin else "inconclusive"


def _overall(metrics: Mapping[str, Metric], judged: Mapping[str, Judged]) -> Verdict:
    verdicts = {name: one.verdict for name, one in judged.items()}
    if "worse" in verdicts.values():
        return "worse"
    guarded = all(verdicts[name] in ("better", "not-worse") for name, metric in metrics.items() if metric.guards)
    if not guarded:
        return "inconclusive"
    if any(metric.goal and verdicts[name] == "better" for name, metric in metrics.items()):
        return "better"
    return "not-worse" if any(metric.guards for metric in metrics.values()) else "inconclusive"


def _counts(metric: Metric, judged: Judged) -> tuple[int, int]:
    # Of a shadow's disagreement there is one number for both.
    return (judged.counts[1],) * 2 if metric.form == "agreement" else judged.counts


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _summary(judged: Mapping[str, Judged], verdict: Verdict) -> str:
    """The metrics that made the verdict what it is, for people."""
    told = {name: one for name, one in judged.items() if one.verdict == verdict} or judged
    return ", ".join(
        f"{name} {one.verdict} ({_told(one.difference, '+')}, surely between {_told(one.low)} and {_told(one.high)})"
        for name, one in told.items()
    )


def _told(value: float | None, sign: str = "") -> str:
    return "anything" if value is None else f"{value:{sign}.4g}"
