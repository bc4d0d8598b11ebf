"""The pure check of named tensors against a signature, and their cast to exactly its dtypes.

After `bind` nothing downstream asks again: names, dtypes, ranks, fixed dimensions, row counts, missing values and
closed categories are right, or the caller got an error that names the input at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from math import isfinite
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import DTYPES, Array, Tensors, datatype_of

_EXACT_INTEGERS = 2**53
_vdot: Any = np.vdot  # numpy has no overload for an array of unknown dtype


class Binder:
    """Binds tensors to one signature; made once per loaded version because it is on the path of every request.

    Example:
        >>> x = Field(name="x", datatype="FP32", shape=(-1, 2))
        >>> binder = Binder(Signature(inputs=(x,), outputs=(), layout="matrix"))
        >>> bound, rows = binder({"x": np.array([[1.0, 2.0]])})
        >>> bound["x"].dtype, rows
        (dtype('float32'), 1)
    """

    def __init__(self, signature: Signature, *, text_only: bool = True) -> None:
        self._batched = signature.batched
        self._names = [field.name for field in signature.inputs]
        self._casts = [(field.name, _cast_to(field, text_only, signature.batched)) for field in signature.inputs]

    def __call__(self, tensors: Tensors) -> tuple[Tensors, int]:
        """Return the canonical tensors and the number of rows; raise InvalidInput."""
        if len(tensors) != len(self._casts):
            raise self._wrong_names(tensors)
        bound: Tensors = {}
        rows = -1
        for name, cast in self._casts:
            array = tensors.get(name)
            if array is None:
                raise self._wrong_names(tensors)
            bound[name] = array = cast(array)
            if self._batched:
                if rows < 0:
                    rows = len(array)
                elif rows != len(array):
                    raise InvalidInput(
                        "unequal-rows", f"input {name!r} has {len(array)} rows, the inputs before it {rows}"
                    )
        return bound, rows if self._batched else 1

    def check_names(self, names: Collection[str]) -> None:
        """Raise InvalidInput unless these are the inputs, before anything is made of them."""
        if len(names) != len(self._names) or not all(name in names for name in self._names):
            raise self._wrong_names(names)

    def _wrong_names(self, tensors: Collection[str]) -> InvalidInput:
        missing = [name for name in self._names if name not in tensors]
        extra = [name for name in tensors if name not in self._names]
        said = [
            f"{what} {', '.join(map(repr, names[:5]))}"
            for what, names in (("missing", missing), ("unknown", extra))
            if names
        ]
        return InvalidInput(
            "wrong-inputs", f"inputs: {' and '.join(said)}", hint=f"this model takes {', '.join(self._names[:40])}"
        )


def _cast_to(field: Field, text_only: bool, batched: bool) -> Callable[[Array], Array]:
    """One function that checks and casts one input."""
    dtype, shape, rank = DTYPES[field.datatype], field.shape, len(field.shape)
    fixed = [(axis, size) for axis, size in enumerate(shape) if size != -1]
    # A column may come as [n, 1]: clients that hold a matrix cut it that way.
    column = batched and rank == 1
    check_more = _further_check(field)
    floats, text = dtype.kind == "f", dtype.kind == "O"

    def cast(array: Array) -> Array:
        found = array.shape
        if len(found) != rank:
            if not column or len(found) != 2 or found[1] != 1:
                raise _wrong_shape(field, array)
            array = array.reshape(-1)
        for axis, size in fixed:
            if found[axis] != size:
                raise _wrong_shape(field, array)
        if not array.size:
            raise InvalidInput(
                "empty-batch", f"input {field.name!r} has shape {list(found)}: there is nothing to answer"
            )
        if array.dtype is not dtype:
            array = _convert(field, array, dtype)
        if floats:
            # The sum of squares is finite unless a value is not, or it overflows: one cheap pass decides almost always.
            if not isfinite(_vdot(array, array)):
                _check_finite(field, array)
        elif text:
            _check_text(field, array, text_only)
        if check_more is not None:
            check_more(array)
        return array

    return cast


def _further_check(field: Field) -> Callable[[Array], None] | None:
    """What only some columns need: a list of categories that is closed, numbers that are whole."""
    if field.closed and field.categories is not None:
        known = frozenset(field.categories)
        return lambda array: _check_categories(field, known, array)
    if field.integers:
        low, high = _range_of(field.integers)
        return lambda array: _check_whole(field, array, low, high)
    return None


def _wrong_shape(field: Field, array: Array) -> InvalidInput:
    return InvalidInput(
        "wrong-shape", f"input {field.name!r} has shape {list(array.shape)}, the model takes {list(field.shape)}"
    )


def _convert(field: Field, array: Array, dtype: np.dtype[np.generic]) -> Array:
    """Widen without loss, or FP64 to FP32; anything else could change a value unseen."""
    source = array.dtype
    narrowed = source == np.float64 and dtype == np.float32
    if source.kind == "O" or dtype.kind == "O" or not (narrowed or np.can_cast(source, dtype, "safe")):
        raise InvalidInput(
            "wrong-datatype", f"input {field.name!r} is {datatype_of(array)}, the model takes {field.datatype}",
            hint="only lossless widening and FP64 to FP32 are done for you",
        )  # fmt: skip
    wide_integers = dtype.kind == "f" and source.kind in "iu" and source.itemsize == 8
    # numpy calls INT64 to FP64 safe; past 2^53 neighbouring integers become one float.
    if wide_integers and max(int(array.max()), -int(array.min())) > _EXACT_INTEGERS:
        raise InvalidInput(
            "inexact-value", f"input {field.name!r} has an integer beyond 2^53, which {field.datatype} cannot hold"
        )
    return array.astype(dtype)


def _check_finite(field: Field, array: Array) -> None:
    if bool(np.isinf(array).any()):
        raise InvalidInput("invalid-value", f"input {field.name!r} has a value that is infinite as {field.datatype}")
    if not field.nullable and bool(np.isnan(array).any()):
        raise InvalidInput(
            "missing-value", f"input {field.name!r} has a missing value (null or NaN), and the model takes none"
        )


def _range_of(integers: str) -> tuple[float, float]:
    limits: Any = np.iinfo(DTYPES[integers])
    return max(float(limits.min), -float(_EXACT_INTEGERS)), min(float(limits.max), float(_EXACT_INTEGERS))


def _check_whole(field: Field, array: Array, low: float, high: float) -> None:
    present: Any = array[~np.isnan(array)]
    # A model of such a column raises on anything else, in the middle of a batch that is also other callers'.
    if present.size and (present.min() < low or present.max() > high or bool((present != np.rint(present)).any())):
        raise InvalidInput(
            "invalid-value", f"input {field.name!r} has a value that is no {field.integers}, though it travels as FP64"
        )


def _check_text(field: Field, array: Array, text_only: bool) -> None:
    for element in array.ravel().tolist():
        if element is None:
            if not field.nullable:
                raise InvalidInput(
                    "missing-value", f"input {field.name!r} has a missing value (null), and the model takes none"
                )
        elif text_only and type(element) is not str:
            raise InvalidInput(
                "not-text", f"input {field.name!r} has bytes that are not UTF-8 text, which this model takes"
            )


def _check_categories(field: Field, known: frozenset[Scalar], array: Array) -> None:
    for element in array.ravel().tolist():
        if element not in known and element is not None and element == element:
            some = ", ".join(map(repr, (field.categories or ())[:10]))
            raise InvalidInput(
                "unseen-category",
                f"input {field.name!r} has {str(element)[:60]!r}, which the model never saw in training",
                hint="" if field.sensitive else f"it takes {some}{' …' if len(known) > 10 else ''}",
            )
