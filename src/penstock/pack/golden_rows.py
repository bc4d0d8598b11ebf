"""Inputs of the golden rows: like the sample's, but no person's."""

from __future__ import annotations

import numpy as np

from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors
from penstock.pack.arrays import Values
from penstock.pack.sample import Sample

ROWS = 32


def golden_rows(sample: Sample, fields: tuple[Field, ...], seed: int) -> tuple[Tensors, bool]:
    """At most 32 rows whose columns were shuffled independently, and whether numbers had to be made up.

    A row that still equals one of the sample is left out while others remain. A sample of one row cannot be
    shuffled: its numbers are moved a little, and the rows are marked synthetic.
    """
    rng = np.random.default_rng(seed)
    rows = min(sample.rows, 4 * ROWS)
    inputs = {}
    for field in fields:
        values = sample.inputs[field.name]
        if field.sensitive:
            inputs[field.name] = invented(field, values, rows, rng)
            continue
        flat = values.reshape(len(values), -1)
        shuffled = rng.permuted(flat, axis=0)[:rows]
        inputs[field.name] = shuffled.reshape(rows, *values.shape[1:])
    if sample.rows == 1:
        return {field.name: _moved(field, inputs[field.name], rng) for field in fields}, True
    fresh = np.flatnonzero(~_in_sample(inputs, sample))
    chosen = fresh[:ROWS] if len(fresh) else np.arange(min(rows, ROWS))
    return {name: array[chosen] for name, array in inputs.items()}, False


def _in_sample(inputs: Tensors, sample: Sample) -> Values:
    made, known = ([_columns(tensors[name]) for name in inputs] for tensors in (inputs, sample.inputs))
    return np.array([_found([m[row] for m in made], known) for row in range(len(made[0]))], np.bool_)


def _columns(array: Values) -> Values:
    return array.reshape(len(array), -1)


def _found(row: list[Values], known: list[Values]) -> bool:
    """Whether a row is one of the sample's; column by column, so that a large sample is left after a few of them."""
    left = np.arange(len(known[0]))
    for values, columns in zip(row, known, strict=True):
        for number, value in enumerate(values):
            column = columns[left, number]
            # NaN is unlike itself, and a row with a missing value is still the same row.
            left = left[(column == value) | ((column != column) & (value != value))]
            if not len(left):
                return False
    return True


def _moved(field: Field, values: Values, rng: np.random.Generator) -> Values:
    if field.categories is not None or values.dtype.kind != "f":
        return values
    return (values * rng.uniform(0.9, 1.1, values.shape)).astype(values.dtype)


def invented(field: Field, values: Values, rows: int, rng: np.random.Generator) -> Values:
    """Values for a sensitive column: none that the sample holds, where the model leaves a choice.

    A category of a closed column comes from the model's own list, since it takes no other. Numbers come from the
    middle of the range, never from its ends: the largest income in a sample is somebody's.
    """
    if field.closed and field.categories:
        out = np.empty(rows, values.dtype)
        out[:] = rng.choice(np.array(field.categories, values.dtype), rows)
        return out
    if values.dtype.kind == "O":
        out = np.empty(rows, object)
        out[:] = [f"synthetic-{number}" for number in rng.integers(0, 10, rows)]
        return out.reshape(rows, *[1] * (values.ndim - 1)).repeat(values[0].size, axis=-1) if values.ndim > 1 else out
    if values.dtype.kind == "b":
        return np.zeros((rows, *values.shape[1:]), np.bool_)
    wide = values.astype(np.float64)
    finite = wide[np.isfinite(wide)]
    low, high = (float(np.quantile(finite, 0.25)), float(np.quantile(finite, 0.75))) if finite.size else (0.0, 1.0)
    if field.integers:
        return _free_integers(finite.astype(DTYPES[field.integers]), low, rows, rng).astype(values.dtype)
    if values.dtype.kind == "f":
        return _unlike(values, rng.uniform(low, high if high > low else low + 1.0, (rows, *values.shape[1:])))
    return _free_integers(values, low, rows, rng)


def _unlike(values: Values, made: Values) -> Values:
    out = made.astype(values.dtype)
    while (same := np.isin(out, values)).any():
        out[same] = np.nextafter(out[same], np.array(np.inf, values.dtype))
    return out


def _free_integers(values: Values, low: float, rows: int, rng: np.random.Generator) -> Values:
    taken = set(values.ravel().tolist())
    limits = np.iinfo(values.dtype)
    near = range(max(int(low), limits.min), min(int(low) + len(taken) + 8, limits.max) + 1)
    free = [number for number in near if number not in taken]
    out: Values = rng.choice(np.array(free or [0], values.dtype), (rows, *values.shape[1:]))
    return out


def synthetic_calls(
    signature: Signature, calls: int, rows: int, seed: int, texts: tuple[str, ...] = ()
) -> list[Tensors]:
    """Seeded calls for a model that came without a sample; axes of unknown length get `rows` (the first) or 4.

    Inputs of text are some of `texts`.

    Example:
        >>> field = Field(name="x", datatype="INT8", shape=(-1, 3))
        >>> signature = Signature(inputs=(field,), outputs=(), layout="tensors")
        >>> synthetic_calls(signature, calls=1, rows=2, seed=0)[0]["x"].shape
        (2, 3)
    """
    rng = np.random.default_rng(seed)
    return [
        {
            field.name: _synthetic(field, _shape(field, rows, signature.batched), rng, texts)
            for field in signature.inputs
        }
        for _ in range(calls)
    ]


def _shape(field: Field, rows: int, batched: bool) -> tuple[int, ...]:
    first = rows if batched else 4
    return tuple(size if size >= 0 else (first if axis == 0 else 4) for axis, size in enumerate(field.shape))


def _synthetic(field: Field, shape: tuple[int, ...], rng: np.random.Generator, told: tuple[str, ...]) -> Values:
    dtype = DTYPES[field.datatype]
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        # Small and not negative: such numbers are mostly indices and lengths.
        return rng.integers(0, 4, shape).astype(dtype)
    texts = np.array(told or [f"text-{number}" for number in range(8)], object)
    out: Values = texts[rng.integers(0, len(texts), shape)]
    return out
