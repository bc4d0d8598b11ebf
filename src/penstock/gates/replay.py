"""Replay: recorded requests asked again, and every row's answer held against the one it got then.

A request that was answered and is now refused, or fails, breaks whoever sent it. That answers differ is what a new
model is for; how many may, `max_changed` says, and without it they are shown and not judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.tensors import Array, Tensors
from penstock.core.verdicts import Finding, Verdict, overall
from penstock.gates.candidate import Candidate, Recorded
from penstock.gates.intervals import Interval, share
from penstock.gates.plan import ReplaySettings
from penstock.predlog.record import Block

_EXAMPLES = 20
_REFUSALS = 5


class Diff(msgspec.Struct, frozen=True):
    """One row that is answered otherwise; `row` counts within its request."""

    id: str
    row: int
    output: str
    recorded: Any
    now: Any


class _Tally:
    """What was seen so far."""

    def __init__(self) -> None:
        self.requests = self.rows = self.changed = self.not_whole = 0
        self.largest = 0.0
        self.failures: Counter[str] = Counter()
        self.examples: list[Diff] = []
        self.refusals: list[dict[str, str]] = []


def check(candidate: Candidate, settings: ReplaySettings) -> Finding:
    """Fail on a request that is not answered any more, or on more changed rows than wanted."""
    candidate.served.start()
    seen = _Tally()
    for request in islice(candidate.requests or (), settings.requests):
        candidate.left_s()
        if not request.whole:
            seen.not_whole += 1
            continue
        _replay(candidate, request, settings, seen)
    if not seen.requests:
        what = f"; {seen.not_whole} were stored without some of their inputs" if seen.not_whole else ""
        raise InvalidInput("no-requests", f"there are no recorded requests to replay{what}")
    found = None
    if settings.max_changed is not None and seen.rows:
        alpha = 1 - settings.confidence
        found = share(seen.changed, seen.rows, alpha, alpha)
    return _finding(seen, settings, found)


def recorded_calls(blocks: Iterable[Block]) -> Iterator[Recorded]:
    """The answered calls in blocks of the prediction log, one by one."""
    for block in blocks:
        whole = not any(name.startswith("inputs/") for name in block.policy)
        outputs = {name: array for name, array in block.outputs.items() if f"outputs/{name}" not in block.policy}
        at = 0
        for number, rows in enumerate(block.rows.tolist() if block.inputs else ()):
            cut = slice(at, at + rows)
            at += rows
            if block.status[number] == 200:
                yield Recorded(_cut(block.inputs, cut), _cut(outputs, cut), block.ids[number], whole)


def _cut(tensors: Tensors, rows: slice) -> Tensors:
    return {name: array[rows] for name, array in tensors.items()}


def _replay(candidate: Candidate, request: Recorded, settings: ReplaySettings, seen: _Tally) -> None:
    seen.requests += 1
    try:
        now = candidate.answer(request.inputs)
    except PenstockError as error:
        candidate.left_s()
        seen.failures[error.code] += 1
        if len(seen.refusals) < _REFUSALS:
            # Without the text: it may quote what the caller sent.
            seen.refusals.append({"id": request.id, "code": error.code})
        return
    rows = len(next(iter(now.values()))) if candidate.signature.batched else 1
    changed = np.zeros(rows, np.bool_)
    for name, before in request.outputs.items():
        after = now.get(name)
        if after is None or after.shape != before.shape or _sort(after) != _sort(before):
            seen.failures["output-missing" if after is None else "output-differs"] += 1
            return
        differs = _differs(before, after, settings)
        seen.largest = max(seen.largest, _largest(before, after))
        by_row = differs.reshape(rows, -1).any(axis=1)
        for row in np.flatnonzero(by_row & ~changed)[: _EXAMPLES - len(seen.examples)].tolist():
            pair = (before, after) if not candidate.signature.batched else (before[row], after[row])
            seen.examples.append(Diff(request.id, row, name, *(np.asarray(one).tolist() for one in pair)))
        changed |= by_row
    seen.rows += rows
    seen.changed += int(changed.sum())


def _sort(array: Array) -> str:
    return "number" if array.dtype.kind in "iufb" else "text"


def _differs(before: Array, after: Array, settings: ReplaySettings) -> Any:
    if before.dtype.kind != "f" and after.dtype.kind != "f":
        return np.asarray(before != after, np.bool_)
    now, then = after.astype(np.float64), before.astype(np.float64)
    return ~np.isclose(now, then, rtol=settings.rtol, atol=settings.atol, equal_nan=True)


def _largest(before: Array, after: Array) -> float:
    if before.dtype.kind != "f" or not before.size:
        return 0.0
    gap = np.abs(after.astype(np.float64) - before.astype(np.float64))
    return float(np.nanmax(gap)) if np.isfinite(gap).any() else 0.0


def _finding(seen: _Tally, settings: ReplaySettings, found: Interval | None) -> Finding:
    judged: Verdict = "pass" if found is None else found.at_most(settings.max_changed or 0.0)
    verdict = overall(["fail" if seen.failures else "pass", judged])
    part = f"{seen.changed} of {seen.rows} rows are answered otherwise"
    if found is not None:
        part += f" [{found.low:.2%}, {found.high:.2%}], at most {settings.max_changed:.2%} may be"
    broken = ", ".join(f"{count} x {code}" for code, count in seen.failures.most_common())
    summary = f"{seen.requests} requests; " + (f"not answered any more: {broken}; " if broken else "") + part
    evidence = {
        "requests": seen.requests, "rows": seen.rows, "changed": seen.changed, "not_whole": seen.not_whole,
        "largest_difference": seen.largest, "failures": dict(seen.failures), "refused": seen.refusals,
        "examples": msgspec.to_builtins(seen.examples),
    }  # fmt: skip
    return Finding(gate="replay", verdict=verdict, summary=summary, evidence=evidence)
