"""Quality on held-out rows: against numbers, and against the champion on the same rows.

A bound is passed or failed only where the interval says so with the confidence asked for; a small set of rows, or a
small slice, is inconclusive. Passing needs every bound at that confidence; failing, which one bound can do alone, is
held to a stricter one the more bounds there are (Bonferroni), so that many slices do not fail by chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.verdicts import Finding, Verdict, overall
from penstock.gates.candidate import Candidate, Subject
from penstock.gates.held_out import HeldOut, read_held_out
from penstock.gates.intervals import Interval, Rows, least_width, paired_share, percentiles, resampled, share
from penstock.gates.metrics import Answered, Metric, answered, find_metric, truth_of
from penstock.gates.plan import Bound, QualitySettings
from penstock.pack.arrays import Values

_MOST_SLICES = 50


class Judged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One metric on one set of rows, held against one bound. `low` and `high` are those of what is bounded."""

    metric: str
    bound: str
    verdict: Verdict
    rows: int
    value: float
    low: float | None = None
    high: float | None = None
    method: str = ""
    champion: float | None = None
    slice: str = ""
    note: str = ""

    def __str__(self) -> str:
        where = f" where {self.slice}" if self.slice else ""
        sure = "" if self.low is None or self.high is None else f" [{self.low:.4g}, {self.high:.4g}]"
        against = "" if self.champion is None else f", champion {self.champion:.4g}, difference{sure}"
        held = f"{self.metric}{where} {self.value:.4g}{against or sure}, wanted {self.bound}"
        return f"{held}: {self.note}" if self.note else held


class _Question(msgspec.Struct, frozen=True):
    """The answers of both models to the same rows, and how sure to be."""

    candidate: Candidate
    ours: Answered
    theirs: Answered | None
    problem: str
    truth: Values
    settings: QualitySettings
    alpha: float
    alpha_fail: float


def check(candidate: Candidate, settings: QualitySettings) -> Finding:
    """Judge every bound of every metric, on all rows and on each slice. Raises InvalidInput for unusable data."""
    metrics = {name: find_metric(name) for name in settings.metrics}
    held, chosen = _rows(candidate, settings)
    slices = [("", np.arange(held.rows)), *_slices(held, candidate, settings.slices)]
    question = _ask(candidate, held, settings, bounds=len(slices) * sum(map(_count, settings.metrics.values())))
    judged = [
        one
        for name, bound in settings.metrics.items()
        for where, rows in slices
        for one in _judge(question, metrics[name], bound, where, rows)
    ]
    verdict = overall(one.verdict for one in judged)
    # The worst first: they are why.
    order = ("fail", "inconclusive", "pass")
    telling = sorted(judged, key=lambda one: order.index(one.verdict))
    shown = [one for one in telling if one.verdict == verdict][:3]
    more = len(judged) - len(shown)
    summary = "; ".join(map(str, shown)) + (f"; {more} more bounds" if more else "")
    evidence = {
        "rows": held.rows, "unlabelled": held.unlabelled, "chosen_of": chosen, "confidence": settings.confidence,
        "seed": settings.seed, "judged": msgspec.to_builtins(judged),
    }  # fmt: skip
    return Finding(gate="quality", verdict=verdict, summary=summary, evidence=evidence)


def _rows(candidate: Candidate, settings: QualitySettings) -> tuple[HeldOut, int]:
    if not candidate.signature.batched:
        raise InvalidInput("no-rows", "this model does not take rows, so there is no quality per row")
    held = read_held_out(settings.data, settings.target, candidate.signature)
    if held.rows <= settings.max_rows:
        return held, held.rows
    chosen = np.random.default_rng(settings.seed).choice(held.rows, settings.max_rows, replace=False)
    return held.take(np.sort(chosen)), held.rows


def _slices(held: HeldOut, candidate: Candidate, names: Sequence[str]) -> Iterator[tuple[str, Rows]]:
    sensitive = {field.name for field in candidate.signature.inputs if field.sensitive}
    for name in names:
        if name not in held.columns:
            raise InvalidInput(
                "unknown-column", f"slices: the held-out rows have no column {name!r}",
                hint=f"they have {', '.join(list(held.columns)[:20])}",
            )  # fmt: skip
        column = [str(value) for value in held.columns[name].tolist()]
        values = sorted(set(column))
        if len(values) > _MOST_SLICES:
            raise InvalidInput("too-many-slices", f"column {name!r} has {len(values)} values, more than {_MOST_SLICES}")
        for number, value in enumerate(values, 1):
            # The report is stored; a sensitive column's values must not be in it.
            shown = f"{name} is value {number} of {len(values)}" if name in sensitive else f"{name} is {value}"
            yield shown, np.flatnonzero(np.array(column) == value)


def _count(bound: Bound) -> int:
    return sum(limit is not None for limit in (bound.min, bound.max, bound.not_worse_than))


def _ask(candidate: Candidate, held: HeldOut, settings: QualitySettings, bounds: int) -> _Question:
    ours = answered(candidate.signature, candidate.answer_rows(held.inputs(candidate.signature)))
    theirs, problem = None, "there is no champion, and so nothing to be worse than"
    if candidate.champion is not None and any(one.not_worse_than is not None for one in settings.metrics.values()):
        theirs, problem = _champion(candidate, candidate.champion, held)
    alpha = 1 - settings.confidence
    truth = truth_of(candidate.signature, held.target)
    return _Question(candidate, ours, theirs, problem, truth, settings, alpha, alpha / bounds)


def _champion(candidate: Candidate, champion: Subject, held: HeldOut) -> tuple[Answered | None, str]:
    if champion.signature.classes != candidate.signature.classes:
        return None, "the champion knows other classes, so the two cannot be compared"
    try:
        return answered(champion.signature, champion.answer_rows(held.inputs(champion.signature))), ""
    except PenstockError as error:
        candidate.left_s()
        return None, f"the champion cannot answer these rows: {error.message}"


def _judge(question: _Question, metric: Metric, bound: Bound, where: str, rows: Rows) -> Iterator[Judged]:
    """One judgement for each limit of a bound."""
    some: dict[str, Any] = {"metric": metric.name, "slice": where, "rows": len(rows)}
    wanted = [(f">= {bound.min:g}", "min")] if bound.min is not None else []
    wanted += [(f"<= {bound.max:g}", "max")] if bound.max is not None else []
    if bound.not_worse_than is not None:
        wanted.append((f"not worse than the champion by {bound.not_worse_than:g}", "champion"))
    value = metric.value(question.ours, question.truth, rows) if where else metric.check(question.ours, question.truth)
    for text, kind in wanted:
        about = some | {"bound": text, "value": value}
        if kind == "champion" and question.theirs is None:
            absent = question.candidate.champion is None
            yield Judged(**about, verdict="pass" if absent else "inconclusive", note=question.problem)
        elif len(rows) < question.settings.min_rows:
            yield Judged(**about, verdict="inconclusive", note=f"fewer than {question.settings.min_rows} rows")
        elif kind == "champion":
            yield _against_champion(question, metric, bound.not_worse_than or 0.0, rows, about)
        else:
            yield _against_number(question, metric, bound, kind, rows, about)


def _against_number(
    question: _Question, metric: Metric, bound: Bound, kind: str, rows: Rows, about: dict[str, Any]
) -> Judged:
    at_least = kind == "min"
    alphas = (question.alpha, question.alpha_fail) if at_least else (question.alpha_fail, question.alpha)
    if metric.name == "accuracy":
        right = int((question.ours.predictions[rows] == question.truth[rows]).sum())
        found = share(right, len(rows), *alphas)
    else:
        found = _bootstrap(
            question, rows, alphas, about["value"], lambda some: metric.value(question.ours, question.truth, some)
        )
    verdict = found.at_least(bound.min or 0.0) if at_least else found.at_most(bound.max or 0.0)
    return _judged(about, verdict, found)


def _against_champion(question: _Question, metric: Metric, margin: float, rows: Rows, about: dict[str, Any]) -> Judged:
    """The difference on the same rows, so that what is hard for both counts for neither."""
    theirs, truth, ours = question.theirs, question.truth, question.ours
    assert theirs is not None  # noqa: S101 - asked before
    champion = metric.value(theirs, truth, rows)
    if metric.name == "accuracy":
        right, other = ours.predictions[rows] == truth[rows], theirs.predictions[rows] == truth[rows]
        won, lost = int((right & ~other).sum()), int((~right & other).sum())
        found = paired_share(won, lost, len(rows), question.alpha, question.alpha_fail)
        return _judged(about | {"champion": champion}, found.at_least(-margin), found)

    def better_by(some: Rows) -> float:
        # In the scorer's own direction, in which greater is better.
        return metric.sign * (metric.value(ours, truth, some) - metric.value(theirs, truth, some))

    alphas = (question.alpha, question.alpha_fail)
    found = _bootstrap(question, rows, alphas, metric.sign * (about["value"] - champion), better_by)
    return _judged(about | {"champion": champion}, found.at_least(-margin), found)


def _bootstrap(
    question: _Question, rows: Rows, alphas: tuple[float, float], observed: float, statistic: Any
) -> Interval:
    def resample(some: Rows) -> tuple[float]:
        question.candidate.left_s()
        return (statistic(rows[some]),)

    values = resampled(resample, len(rows), question.settings.resamples, question.settings.seed)
    floor = least_width(len(rows), question.alpha) if question.candidate.signature.classes is not None else 0.0
    return percentiles(values[:, 0], observed, *alphas, floor)


def _judged(about: dict[str, Any], verdict: Verdict, found: Interval) -> Judged:
    if found.method == "undefined":
        return Judged(**about, verdict="inconclusive", note="not defined on rows drawn from these; one class only?")
    return Judged(**about, verdict=verdict, low=found.low, high=found.high, method=found.method)
