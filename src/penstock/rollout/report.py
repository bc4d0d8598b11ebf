"""What a rollout looked like: the facts of each step and arm, how each verdict came about, where answers differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.core.clock import timestamp
from penstock.predlog.table_engine import quoted
from penstock.predlog.table_views import LogPlaces, Views
from penstock.rollout.evidence import judge_samples, open_calls, samples
from penstock.rollout.judgement import ArmFacts, Disagreement, Flip, Point, RolloutReport, Slice
from penstock.rollout.metrics import Metric
from penstock.rollout.plan import SHADOWING
from penstock.rollout.state import Rollout
from penstock.rollout.values import columns_of, output_of, value_of

MOST_POINTS = 30
MOST_FLIPS = 10
MOST_SLICES = 8
MOST_VALUES = 12


def make_report(places: LogPlaces, rollout: Rollout, now: float) -> RolloutReport:
    """The report of a rollout that counts, or counted, something; raises what `look` does."""
    with open_calls(places, rollout) as views:
        return RolloutReport(
            judgement=judge_samples(rollout, samples(views, rollout)),
            arms=tuple(_arms(views, rollout)),
            series=_series(views, rollout, now),
            disagreement=_disagreement(views) if rollout.plan.strategy in SHADOWING else None,
        )


def _arms(views: Views, rollout: Rollout) -> Iterator[ArmFacts]:
    errors, saturation, latency = (value_of(views, Metric(kind=kind)) for kind in ("errors", "saturation", "latency"))
    asked = f"""
        SELECT stratum, version, count(*), count(DISTINCT unit), avg({errors}), avg({saturation}),
               quantile_disc({latency}, 0.5), quantile_disc({latency}, 0.95), quantile_disc({latency}, 0.99)
        FROM calls WHERE row = 0 GROUP BY stratum, new, version ORDER BY stratum, new, version"""  # noqa: S608 - ours
    for step, *facts in views.engine.execute(asked).fetchall():
        yield ArmFacts(step=step + 1, **dict(zip(ArmFacts.__struct_fields__[1:], facts, strict=True)))


def _series(views: Views, rollout: Rollout, now: float) -> dict[str, tuple[Point, ...]]:
    """Each verdict at some moments from the first call to the last, as it was known then."""
    first = rollout.state.strata[0].since
    last = rollout.state.strata[-1].until or now
    found: dict[str, list[Point]] = {}
    for number in range(1, MOST_POINTS + 1):
        moment = first + (last - first) * number / MOST_POINTS
        for name, judged in judge_samples(rollout, samples(views, rollout, moment)).metrics.items():
            found.setdefault(name, []).append(Point(at=timestamp(moment), judged=judged))
    return {name: tuple(points) for name, points in found.items()}


def _disagreement(views: Views) -> Disagreement | None:
    metric = Metric(kind="disagreement")
    differs, output = value_of(views, metric), output_of(views, metric)
    if differs is None or output is None:
        return None
    mine, theirs = quoted(output), f"other.{quoted(output)}"
    kinds = columns_of(views)
    is_number = kinds[output] in ("FLOAT", "DOUBLE")
    gap = f"{mine} - {theirs}" if is_number else "NULL"
    compared = f"FROM calls WHERE new AND ({differs}) IS NOT NULL"
    rows, rate, shift = _one(views, f"SELECT count(*), avg({differs}), avg({gap}) {compared}")
    if not rows:
        return None
    largest = f"abs({gap}) DESC, " if is_number else ""
    asked = f"""
        SELECT request_id, row, {theirs}::VARCHAR, {mine}::VARCHAR {compared} AND ({differs}) = 1
        ORDER BY {largest}time, request_id, row LIMIT {MOST_FLIPS}"""
    flips = views.engine.execute(asked).fetchall()
    return Disagreement(
        rows=rows,
        rate=rate,
        shift=shift,
        flips=tuple(Flip(request_id=a, row=b, champion=c, challenger=d) for a, b, c, d in flips),
        slices=tuple(_slices(views, kinds, differs, compared)),
    )


def _slices(views: Views, kinds: dict[str, str], differs: str, compared: str) -> Iterator[Slice]:
    """By the values of each input that has few of them; of the others a slice would hold hardly anything."""
    inputs = [name for name, kind in kinds.items() if name.startswith("input.") and not kind.endswith("[]")]
    for name in inputs[: MOST_SLICES * 4]:
        (values,) = _one(views, f"SELECT count(DISTINCT {quoted(name)}) {compared}")
        if not 1 < values <= MOST_VALUES:
            continue
        asked = f"SELECT {quoted(name)}::VARCHAR, count(*), avg({differs}) {compared} GROUP BY 1 ORDER BY 3 DESC, 1"
        for value, calls, rate in views.engine.execute(asked).fetchall():
            field = name.removeprefix("input.")
            yield Slice(field=field, value="none" if value is None else value, calls=calls, disagreement=rate)


def _one(views: Views, asked: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = views.engine.execute(asked).fetchall()[0]
    return found
