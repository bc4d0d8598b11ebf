"""Robustness: inputs that the golden rows lack but the signature allows, and inputs that it forbids.

What it allows must be answered, with finite numbers, and a nudge must not change many answers. What it forbids must be
refused with words, before the model sees it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Tensors
from penstock.core.verdicts import Finding, Verdict
from penstock.gates.candidate import Candidate
from penstock.gates.plan import RobustnessSettings
from penstock.pack.arrays import Values
from penstock.pack.perturb import perturbed
from penstock.pack.sample import Sample
from penstock.runtime import golden

_NUDGES = 8


def check(candidate: Candidate, settings: RobustnessSettings) -> Finding:
    """Fail with the first thing that went wrong; the evidence has all of them."""
    calls = golden.read(candidate.bundle.path(candidate.bundle.manifest.golden.path))
    base = calls[0].inputs
    finite = all(_finite(call.outputs) for call in calls)
    candidate.served.start()
    blocks = {name: _asked(candidate, block, finite) for name, block in _blocks(candidate, base, settings.seed)}
    let_in = _let_in(candidate, base)
    problems = [f"{name} rows: {found['problem']}" for name, found in blocks.items() if found["problem"]]
    problems += [f"{name} is not refused" for name in let_in]
    flips = rows = 0
    try:
        flips, rows = _flips(candidate, base, settings)
    except PenstockError as error:
        candidate.left_s()
        problems.append(f"nudged rows: {error.message}")
    if flips > settings.max_flips * rows:
        problems.append(f"{flips} of {rows} rows nudged by {settings.nudge:g} of the spread are answered otherwise")
    evidence = {"blocks": blocks, "not_refused": let_in, "nudged_rows": rows, "flips": flips}
    verdict: Verdict = "fail" if problems else "pass"
    asked = sum(found["rows"] for found in blocks.values())
    summary = "; ".join(problems) or f"{asked} odd rows answered, {flips} of {rows} nudged rows answered otherwise"
    return Finding(gate="robustness", verdict=verdict, summary=summary, evidence=evidence)


def _blocks(candidate: Candidate, base: Tensors, seed: int) -> Iterator[tuple[str, Tensors]]:
    """Rows by what was done to them; none for a model without rows, whose calls are whole."""
    signature = candidate.signature
    if signature.batched:
        sample = Sample(signature.layout, signature.inputs, base, {})
        yield from perturbed(sample, signature.inputs, seed).items()


def _asked(candidate: Candidate, block: Tensors, finite: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": len(next(iter(block.values()))), "problem": "", "code": ""}
    try:
        answers = candidate.answer_rows(block)
    except PenstockError as error:
        candidate.left_s()  # out of time is no fault of the model's
        found |= {"problem": error.message, "code": error.code}
        return found
    if finite and not _finite(answers):
        found["problem"] = "the answers are not finite"
    elif not _adds_up(answers.get("probabilities"), candidate):
        found["problem"] = "the probabilities are not between 0 and 1 with the sum 1"
    return found


def _finite(outputs: Tensors) -> bool:
    return all(bool(np.isfinite(array).all()) for array in outputs.values() if array.dtype.kind == "f")


def _adds_up(probabilities: Values | None, candidate: Candidate) -> bool:
    if probabilities is None or probabilities.ndim != 2 or candidate.signature.classes is None:
        return True
    wide = probabilities.astype(np.float64)
    return bool((wide >= -1e-6).all() and (wide <= 1 + 1e-6).all() and np.allclose(wide.sum(axis=1), 1, atol=1e-3))


def _flips(candidate: Candidate, base: Tensors, settings: RobustnessSettings) -> tuple[int, int]:
    """How many rows, of how many, are answered otherwise when their numbers move a little."""
    rng = np.random.default_rng(settings.seed)
    before = _answered(candidate, base)
    flips = rows = 0
    for _ in range(_NUDGES):
        moved = {
            field.name: _nudged(field, base[field.name], settings.nudge, rng) for field in candidate.signature.inputs
        }
        after = _answered(candidate, moved)
        changed = np.zeros(len(before) if before.ndim else 1, np.bool_)
        # A number has changed when it moved by a tenth of what the golden rows' answers differ from each other.
        limit = 0.1 * float(np.std(before)) if before.dtype.kind == "f" else 0.0
        differs = np.abs(after - before) > limit if limit else np.asarray(after != before)
        changed |= differs.reshape(len(changed), -1).any(axis=1)
        flips, rows = flips + int(changed.sum()), rows + len(changed)
    return flips, rows


def _answered(candidate: Candidate, inputs: Tensors) -> Values:
    """The labels, or else the first output."""
    answers = candidate.answer_rows(inputs) if candidate.signature.batched else candidate.answer(inputs)
    return answers["predictions" if "predictions" in answers else candidate.signature.outputs[0].name]


def _nudged(field: Field, values: Values, nudge: float, rng: np.random.Generator) -> Values:
    if values.dtype.kind != "f" or field.categories is not None or field.integers:
        return values
    wide = values.astype(np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    spread = finite.std(axis=0) if len(values) > 1 else np.abs(finite)
    return (wide + rng.normal(size=wide.shape) * nudge * spread).astype(values.dtype)


def _let_in(candidate: Candidate, base: Tensors) -> list[str]:
    """What the signature forbids and is answered all the same."""
    found = []
    for name, inputs in _forbidden(candidate.signature.inputs, base, candidate.signature.batched):
        try:
            candidate.answer(inputs)
        except InvalidInput:
            continue
        except PenstockError as error:
            candidate.left_s()
            found.append(f"{name} ({error.code})")
        else:
            found.append(name)
    return found


def _forbidden(fields: tuple[Field, ...], base: Tensors, batched: bool) -> Iterator[tuple[str, Tensors]]:
    yield "an input too many", {**base, "penstock-no-such-input": np.zeros(1)}
    for field in fields:
        name, values = field.name, base[field.name]
        yield f"{name} left out", {key: array for key, array in base.items() if key != name}
        yield f"{name} of another rank", {**base, name: values.reshape(1, *values.shape, 1)}
        kind = DTYPES[field.datatype].kind
        yield f"{name} of another datatype", {**base, name: np.zeros(values.shape, "U1" if kind != "O" else np.int8)}
        if kind == "f":
            yield f"{name} infinite", {**base, name: np.full_like(values, np.inf)}
        if kind in "fO" and not field.nullable:
            nothing: Any = np.nan if kind == "f" else None
            yield f"{name} missing", {**base, name: np.full_like(values, nothing)}
        if kind == "O" and field.closed:
            yield f"{name} unseen", {**base, name: np.full_like(values, "penstock-unseen-category")}
        if batched:
            yield f"{name} without rows", {**base, name: values[:0]}
