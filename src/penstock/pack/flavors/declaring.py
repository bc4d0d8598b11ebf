"""The signature of a program that says what it takes but not, or not exactly, what it gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penstock.core.errors import ModelFailed
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import DTYPES, Tensors, datatype_of


def declared_by(
    inputs: tuple[Field, ...], run: Callable[[Tensors], Tensors], *, classes: tuple[Scalar, ...] | None = None
) -> Signature:
    """Ask the program twice, with open axes of different lengths: what differs in its answers is open there, too.

    Raises ModelFailed("sample-refused") when it cannot answer made-up zeros.
    """
    try:
        small, large = (run({field.name: _zeros(field, rows, other) for field in inputs}) for rows, other in _LENGTHS)
    except Exception as error:  # a program may raise anything; the person has to say then what it takes
        raise ModelFailed(
            "sample-refused",
            f"the model cannot answer made-up inputs: {type(error).__name__}: {str(error)[:300]}",
            hint="its inputs must be able to hold zeros, and open axes any length",
        ) from error
    outputs = tuple(_output(name, small[name], large[name]) for name in small)
    rows = [(field.shape, array.shape) for field, array in zip(outputs, small.values(), strict=True)]
    batched = all(field.shape[:1] == (-1,) for field in inputs) and all(
        shape[:1] == (-1,) and seen[0] == _LENGTHS[0][0] for shape, seen in rows
    )
    return Signature(inputs=inputs, outputs=outputs, layout="tensors", classes=classes, batched=batched)


# Rows, and the length of any other open axis.
_LENGTHS = ((2, 8), (3, 9))


def _zeros(field: Field, rows: int, other: int) -> np.ndarray:
    shape = tuple(size if size >= 0 else (rows if axis == 0 else other) for axis, size in enumerate(field.shape))
    dtype = DTYPES[field.datatype]
    return np.full(shape, "text", object) if dtype.kind == "O" else np.zeros(shape, dtype)


def _output(name: str, small: np.ndarray, large: np.ndarray) -> Field:
    shape = tuple(a if a == b else -1 for a, b in zip(small.shape, large.shape, strict=True))
    return Field(name=name, datatype=datatype_of(small), shape=shape)
