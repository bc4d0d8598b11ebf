"""Rows the sample does not have: where two forms of one model part first, if they part at all.

Every row stays one that the node would accept: missing values only where the column is nullable, unseen categories
only where it is open. Seeded, so that packing twice compares the same rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Tensors
from penstock.pack.arrays import Values
from penstock.pack.infer import unseen_value
from penstock.pack.sample import Sample

ROWS_EACH = 128
_EXACT_INTEGERS = 2.0**53


def perturbed(sample: Sample, fields: tuple[Field, ...], seed: int) -> dict[str, Tensors]:
    """Blocks of rows by the name of what was done to them; a block that would change nothing is left out."""
    rng = np.random.default_rng(seed)
    blocks = {}
    for name, change in (
        ("jitter", _jitter),
        ("thresholds", _thresholds),
        ("extremes", _extremes),
        ("missing", _missing),
        ("unseen", _unseen),
    ):
        rows = rng.integers(0, sample.rows, ROWS_EACH)
        block = {field.name: _whole(field, change(field, sample.inputs[field.name], rows, rng)) for field in fields}
        if any(not _same(block[field.name], sample.inputs[field.name][rows]) for field in fields):
            blocks[name] = block
    return blocks


def _whole(field: Field, values: Values) -> Values:
    """Whole numbers stay whole and in their range where only missing ones made floats of them."""
    if not field.integers:
        return values
    out: Values = np.where(np.isnan(values), values, _cast(values, DTYPES[field.integers]).astype(values.dtype))
    return np.clip(out, -_EXACT_INTEGERS, _EXACT_INTEGERS)


def _same(a: Values, b: Values) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _jitter(field: Field, values: Values, rows: Values, rng: np.random.Generator) -> Values:
    """Numbers moved by a tenth of their spread, categories exchanged between rows."""
    if field.categories is not None or values.dtype.kind in "Ob":
        exchanged: Values = values[rng.permutation(rows)]
        return exchanged
    spread = 0.1 * _spread(values)
    moved: Values = values[rows].astype(np.float64) + rng.normal(0.0, spread, values[rows].shape)
    return _cast(moved, values.dtype)


def _spread(values: Values) -> Values:
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(values.astype(np.float64)), values.astype(np.float64), np.nan)
        spread = np.nan_to_num(np.nanstd(np.ma.masked_invalid(finite).filled(0.0), axis=0), nan=0.0, posinf=1.0)
    out: Values = np.where(spread > 0, np.minimum(spread, 1e150), 1.0)
    return out


def _thresholds(field: Field, values: Values, rows: Values, rng: np.random.Generator) -> Values:
    """Halfway between two neighbours, and the very next number on either side: where trees put their splits.

    A tree trained in double precision and answered in single precision parts from itself exactly here.
    """
    if field.categories is not None or values.dtype.kind != "f":
        return values[rows]
    flat = values.reshape(len(values), -1)
    out = values[rows].reshape(len(rows), -1).copy()
    for column in range(min(flat.shape[1], 512)):
        known = np.unique(flat[:, column][np.isfinite(flat[:, column])])
        if len(known) < 2:
            continue
        left = rng.integers(0, len(known) - 1, len(rows))
        halfway = known[left] / 2 + known[left + 1] / 2
        single = halfway.astype(np.float32).astype(values.dtype)
        steps = [halfway, np.nextafter(halfway, np.inf), np.nextafter(halfway, -np.inf), single, known[left]]
        out[:, column] = np.choose(rng.integers(0, len(steps), len(rows)), steps)
    return out.reshape(values[rows].shape)


def _extremes(field: Field, values: Values, rows: Values, rng: np.random.Generator) -> Values:
    """One value in four at zero, the ends of the range, or beyond them by the whole range."""
    if field.categories is not None or values.dtype.kind in "Ob":
        return values[rows]
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    if not finite.size:
        return values[rows]
    low, high = float(finite.min()), float(finite.max())
    choices = np.array([0.0, low, high, 2 * low - high, 2 * high - low])
    out = wide[rows]
    change = rng.random(out.shape) < 0.25
    out[change] = rng.choice(choices, int(change.sum()))
    return _cast(out, values.dtype)


def _missing(field: Field, values: Values, rows: Values, rng: np.random.Generator) -> Values:
    out = values[rows].copy()
    if field.nullable:
        out[rng.random(out.shape) < 0.25] = np.nan if out.dtype.kind == "f" else None
    return out


def _unseen(field: Field, values: Values, rows: Values, rng: np.random.Generator) -> Values:
    out = values[rows].copy()
    if not field.closed and (field.categories is not None or field.datatype == "BYTES") and out.ndim == 1:
        change = rng.random(len(out)) < 0.5
        out[change] = unseen_value(field, out)
    return out


def _cast(values: Values, dtype: np.dtype[Any]) -> Values:
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.rint(np.nan_to_num(values.astype(np.float64)))
    # Compared as floats: the largest INT64 is no float, and rounding up to 2^63 would wrap to the smallest.
    highest = np.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max
    return np.clip(rounded, float(limits.min), highest).astype(dtype)
