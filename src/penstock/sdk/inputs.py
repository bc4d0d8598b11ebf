"""Whatever a caller holds, as named tensors: a matrix, a table, a dict of arrays. No data library is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.tensors import Array, Tensors

# The name of the only input of a model packed from an unnamed array.
MATRIX = "x"
_EXACT_INTEGERS = 2**53
_NUMBERS = (int, float, np.integer, np.floating)


def is_rows(data: Any) -> bool:
    """Whether `data` is a list (or tuple) of rows, each a dict from column to value."""
    return isinstance(data, (list, tuple)) and all(isinstance(row, Mapping) for row in data)


def tensors_of(data: Any) -> Tensors:
    """The named tensors in an array, a data frame (pandas, polars) or a dict of arrays.

    Raises InvalidInput for anything else, and for a column that no datatype of the protocol carries exactly.

    Example:
        >>> tensors_of({"age": [31, 64], "city": ["Oslo", None]})
        {'age': array([31, 64]), 'city': array(['Oslo', None], dtype=object)}
    """
    if isinstance(data, np.ndarray):
        return {MATRIX: tensor_of(MATRIX, data)}
    if isinstance(data, Mapping):
        return {_text(name): tensor_of(name, values) for name, values in data.items()}
    # By what it can do, not by its type: the SDK must not import pandas to find out that it was not given a frame.
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        return _frame(data)
    what = "a list of other things than dicts" if isinstance(data, (list, tuple)) else f"a {type(data).__name__}"
    raise InvalidInput(
        "unsupported-data",
        f"data is {what}",
        hint="give a list of dicts, a data frame, a numpy array, or a dict of arrays",
    )


def tensor_of(name: str, values: Any) -> Array:
    """One input as an array of numbers, booleans or text (`str`, `bytes`, and None where it is missing)."""
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        # np.asarray would show what lies under the mask.
        raise _unsupported(name, "masked values", "fill them first, with NaN where the model takes missing values")
    array = _column(values) if hasattr(values, "to_numpy") else np.asarray(values)
    if array.ndim == 0:
        raise _unsupported(name, "one value, not an array", "give a list of dicts for single rows")
    if array.dtype.kind == "O":
        return _of_objects(name, array)
    if array.dtype.kind not in "biufUST":
        raise _unsupported(name, f"dtype {array.dtype}", "turn it into numbers or text as in training")
    return array


def _frame(frame: Any) -> Tensors:
    names = [_text(name) for name in frame.columns]
    if len(set(names)) != len(names):
        raise InvalidInput("duplicate-input", "two columns of the frame have one name")
    return {name: tensor_of(name, frame[name]) for name in names}


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidInput(
            "wrong-columns", f"the column name {name!r} is not text", hint="frame.columns = frame.columns.astype(str)"
        )
    return name


def _column(series: Any) -> Array:
    array: Array = np.asarray(series.to_numpy())
    if array.dtype.kind != "f" or isinstance(series.dtype, np.dtype) or not np.isnan(array).any():
        return array
    # Integers with missing values come as floats, rounded beyond 2^53: look at the values themselves.
    objects = np.empty(len(array), object)
    objects[:] = series.to_list()
    return objects


def _of_objects(name: str, array: Array) -> Array:
    """Python objects as what they are: text, or the numbers and booleans of pandas' nullable columns."""
    elements = [None if _is_missing(element) else element for element in array.ravel().tolist()]
    present: list[Any] = [element for element in elements if element is not None]
    if all(isinstance(element, (str, bytes)) for element in present):
        text = np.empty(len(elements), object)
        text[:] = elements
        return text.reshape(array.shape)
    whole = len(present) == len(elements)
    if whole and all(isinstance(element, bool) for element in present):
        return array.astype(np.bool_)
    if any(isinstance(element, bool) or not isinstance(element, _NUMBERS) for element in present):
        kinds = ", ".join(sorted({type(element).__name__ for element in elements}))
        raise _unsupported(name, f"values of {kinds}", "make it all numbers or all text")
    integers: list[Any] = [element for element in present if isinstance(element, (int, np.integer))]
    try:
        if whole and len(integers) == len(elements):
            return np.array(elements, np.int64).reshape(array.shape)
        if any(abs(element) > _EXACT_INTEGERS for element in integers):
            raise OverflowError
    except OverflowError:
        raise _unsupported(name, "integers too large to be carried exactly", "send them as text") from None
    return np.array(elements, np.float64).reshape(array.shape)


def _is_missing(element: Any) -> bool:
    # pandas' own missing values are known by name: NA cannot be compared, and pandas may not be imported here.
    return (isinstance(element, float) and element != element) or type(element).__name__ in ("NAType", "NaTType")


def _unsupported(name: str, what: str, hint: str) -> InvalidInput:
    return InvalidInput("unsupported-column", f"input {name!r} holds {what}", hint=hint)
