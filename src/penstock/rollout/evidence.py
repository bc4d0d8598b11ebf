"""What the prediction log has seen of a rollout: from records and outcomes to one verdict.

Only calls that the shares divided count (not those that a rule, an override or a pinned version sent somewhere), and
only while every node served the same shares. Where calls belong to units (customers, devices), every metric is computed
over units, because the calls of one resemble each other:

- A unit counts for the new version in the first stratum in which it got it, and for the old one in every stratum in
  which it got that and had never been in the new one's buckets. So in each stratum both are samples of the same units.
- Calls without a unit count one by one in what every service is measured by, and not at all in outcomes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.core.buckets import TOTAL_BUCKETS, Ranges
from penstock.core.digest import digest_of
from penstock.measures import thompson
from penstock.measures.arrays import Floats
from penstock.measures.asymptotic import Moments
from penstock.predlog.table_engine import engine_errors, quoted
from penstock.predlog.table_views import LogPlaces, Selection, Views, open_views
from penstock.rollout.calls import make_calls
from penstock.rollout.judge import Division, judge
from penstock.rollout.judgement import Evidence, Judgement
from penstock.rollout.metrics import Metric
from penstock.rollout.plan import SHADOWING
from penstock.rollout.samples import Seen, total
from penstock.rollout.state import Rollout, Stratum
from penstock.rollout.values import value_of

_LEAST_WEIGHT = 500


def look(places: LogPlaces, rollout: Rollout) -> Evidence:
    """Judge what the log has of a rollout; raises Unavailable (`log-unavailable`, `log-memory`, `disk-full`)."""
    if rollout.state.counted is None or not rollout.state.strata:
        return Evidence()
    with open_calls(places, rollout) as views:
        seen = samples(views, rollout)
    weight = _bandit(rollout, seen.metrics) if rollout.plan.policy == "thompson" else None
    return Evidence(judgement=judge_samples(rollout, seen), weight=weight)


class Samples(NamedTuple):
    """What was seen of each metric, and how the units (or calls, where those are more) of the last stratum divided."""

    metrics: dict[str, tuple[Seen, ...]]
    divided: Seen | None


@contextmanager
def open_calls(places: LogPlaces, rollout: Rollout) -> Iterator[Views]:
    """An engine with the rollout's calls in the table `calls`; raises what `look` does."""
    since = rollout.state.strata[0].since
    if rollout.plan.strategy == "blue-green":
        since -= rollout.plan.bake_s + 1
    selection = Selection(endpoint=rollout.endpoint, since=since)
    with open_views(places.again(), selection) as views, engine_errors("looking at a rollout's records"):
        make_calls(views, rollout)
        yield views


def samples(views: Views, rollout: Rollout, until: float | None = None) -> Samples:
    """What the log has of each metric, stratum by stratum; with `until`, what it had then."""
    numbers = range(len(rollout.state.strata))
    metrics = {
        name: tuple(seen for number in numbers for seen in _seen(views, rollout, metric, number, until))
        for name, metric in rollout.plan.judged.items()
    }
    divided = _seen(views, rollout, Metric(kind="errors"), numbers[-1], until)
    return Samples(metrics, max(divided, key=lambda seen: sum(seen.counts), default=None))


def judge_samples(rollout: Rollout, seen: Samples) -> Judgement:
    """The verdict on them."""
    plan, divided = rollout.plan, None
    if seen.divided is not None and plan.strategy not in SHADOWING and plan.strategy != "blue-green":
        strata = len(rollout.state.strata)
        # 1/2 for the first stratum, then 1/6, 1/12 ...: however many there come to be, together at most 1.
        divided = Division(counts=seen.divided.counts, share=seen.divided.share, part=1 / (strata * (strata + 1)))
    return judge(plan.judged, seen.metrics, alpha=plan.alpha, least_samples=plan.least_samples, divided=divided)


def _seen(views: Views, rollout: Rollout, metric: Metric, number: int, until: float | None) -> Iterator[Seen]:
    """What was seen in one stratum: of units, and of calls without one, which were divided by different shares."""
    value = value_of(views, metric)
    if value is None:
        return
    share = rollout.state.strata[number].share
    if rollout.after.unit is not None:
        of_units = share if rollout.plan.strategy == "blue-green" else unit_share(rollout.state.strata, number)
        found = _read(views, value, _within(number, until, units=True), metric, units=True)
        if of_units is not None and found is not None:
            yield msgspec.structs.replace(found, share=of_units)
    if rollout.after.unit is None or not metric.outcome:
        found = _read(views, value, _within(number, until, units=False), metric, units=False)
        if found is not None:
            yield msgspec.structs.replace(found, share=share)


def _within(stratum: int, until: float | None, *, units: bool) -> str:
    then = "" if until is None else f" AND epoch(time) < {until}"
    return f"stratum = {stratum} AND unit IS {'NOT ' if units else ''}NULL{then}"


def _read(views: Views, value: str, which: str, metric: Metric, *, units: bool) -> Seen | None:
    """One value for each unit, or call, in the order in which they came; None where there are none at all."""
    per_call = metric.form == "quantile" and units
    where = f"{which} AND ({value}) IS NOT NULL"
    key = "unit" if units else "request_id"
    covariate = f"avg({quoted('outcome.' + metric.covariate)})" if metric.covariate else "NULL"
    first = metric.form in ("distance", "agreement")
    of_unit = f"arg_min({value}, (time, request_id, row))" if first else f"avg({value})"
    if per_call:
        asked = f"""SELECT new, {value}, 1.0 / count(*) OVER (PARTITION BY new, unit), unit FROM calls WHERE {where}
                    ORDER BY time, request_id"""  # noqa: S608 - names are quoted
    else:
        asked = f"""SELECT new, {of_unit}, {covariate}, NULL FROM calls WHERE {where}
                    GROUP BY new, {key} ORDER BY min(time), {key}"""  # noqa: S608 - names are quoted
    columns = views.engine.execute(asked).fetchnumpy().values()
    new, values, extra, unit = (np.ma.getdata(column) for column in columns)
    if not len(new):
        return None
    old, new = ~new.astype(bool), new.astype(bool)
    numbers = values.astype(np.float64)
    if metric.form == "agreement":
        # Each copied call is there once.
        return Seen(share=0.5, challenger=numbers[new])
    made = Seen(share=0.5, baseline=numbers[old], challenger=numbers[new])
    if per_call:
        weights = extra.astype(np.float64)
        counts = len(np.unique(unit[old])), len(np.unique(unit[new]))
        return msgspec.structs.replace(made, weights=(weights[old], weights[new]), units=counts)
    if metric.covariate:
        return _with_covariates(made, np.ma.filled(list(columns)[2].astype(np.float64), np.nan), old, new)
    return made


def _with_covariates(seen: Seen, found: npt.NDArray[Any], old: npt.NDArray[Any], new: npt.NDArray[Any]) -> Seen:
    """Values of units whose covariate is known; the others say nothing that could be compared with it."""
    x = found.astype(np.float64)
    known = np.isfinite(x)
    return msgspec.structs.replace(
        seen,
        baseline=seen.baseline[known[old]],
        challenger=seen.challenger[known[new]],
        covariates=(x[old & known], x[new & known]),
    )


def unit_share(strata: tuple[Stratum, ...], number: int) -> float | None:
    """The new version's share of the buckets of a stratum that were never its own before; None where none are left.

    Example:
        >>> first = Stratum(since=0, share=0.05, buckets=(((0, 9500),), ((9500, 10000),)))
        >>> second = Stratum(since=9, share=0.25, buckets=(((0, 7500),), ((7500, 10000),)))
        >>> unit_share((first, second), 0), round(unit_share((first, second), 1), 4)
        (0.05, 0.2105)
    """
    if not any(strata[number].buckets):
        return strata[number].share
    before = used(strata, number)
    old, new = (int((_marked(ranges) & ~before).sum()) for ranges in strata[number].buckets)
    return new / (old + new) if old and new else None


def used(strata: tuple[Stratum, ...], number: int) -> npt.NDArray[np.bool_]:
    """Which of the buckets were the new version's in a stratum before this one."""
    found = np.zeros(TOTAL_BUCKETS, bool)
    for stratum in strata[:number]:
        found |= _marked(stratum.buckets[1])
    return found


def _marked(ranges: Ranges) -> npt.NDArray[np.bool_]:
    found = np.zeros(TOTAL_BUCKETS, bool)
    for low, high in ranges:
        found[low:high] = True
    return found


def _bandit(rollout: Rollout, seen: dict[str, tuple[Seen, ...]]) -> int | None:
    """Thompson's share for the new version, from its one goal; the same records give the same share."""
    name, metric = next((name, metric) for name, metric in rollout.plan.judged.items() if metric.goal)
    counts = total(seen[name])
    if min(counts) < rollout.plan.least_samples:
        return None
    seed = int(digest_of(f"{rollout.seed} {counts}".encode())[-12:], 16)
    rng = np.random.default_rng(seed)
    sign = -1.0 if metric.lower_is_better else 1.0
    arms = [sign * np.concatenate([(one.baseline, one.challenger)[arm] for one in seen[name]]) for arm in (0, 1)]
    if metric.form == "share" and metric.bounds is None:
        wins = [_wins(values, sign) for values in arms]
        chances = thompson.best_rate([round(one) for one in wins], [len(values) for values in arms], rng)
    else:
        chances = thompson.best_mean([Moments(len(v), float(v.mean()), float(v.var(ddof=1))) for v in arms], rng)
    return thompson.weights(chances, least=_LEAST_WEIGHT)[1]


def _wins(values: Floats, sign: float) -> float:
    return float(values.sum()) if sign > 0 else len(values) + float(values.sum())
