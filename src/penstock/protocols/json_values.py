"""One input's JSON values to an array: typed by the signature, so that what is wrong is said with its place."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Array


def value_type(field: Field, *, nullable: bool) -> Any:
    """The msgspec type of one row's value of an input; `nullable` lets null through."""
    dtype = DTYPES[field.datatype]
    kind: Any
    if dtype.kind == "f":
        kind = float
    elif dtype.kind in "iu":
        # 64-bit limits are beyond what a constraint can hold; the array's own overflow check covers them.
        info = np.iinfo(dtype)  # type: ignore[type-var]
        kind = int if dtype.itemsize == 8 else Annotated[int, msgspec.Meta(ge=int(info.min), le=int(info.max))]
    else:
        # 0 and 1 are how other forms write a truth.
        kind = bool | Literal[0, 1] if dtype.kind == "b" else str
    kind = kind | None if nullable else kind
    for _ in field.shape[1:]:
        kind = list[kind]
    return kind


def filled(field: Field, values: list[Any]) -> Array:
    """The array of values that are of the input's type; raises InvalidInput for what only an array can tell."""
    if len(field.shape) == 1:
        return filled_flat(field, values)
    dtype = DTYPES[field.datatype]
    try:
        return np.array(values, np.float64 if dtype.kind == "f" else dtype)
    except OverflowError:
        raise _beyond(field) from None
    except (ValueError, TypeError):
        raise InvalidInput(
            "wrong-shape", f"column {field.name!r} takes per row values of shape {list(field.shape[1:])}"
        ) from None


def filled_flat(field: Field, values: list[Any]) -> Array:
    """The array of one value per row."""
    dtype = DTYPES[field.datatype]
    if dtype.kind == "O":
        text = np.empty(len(values), object)
        text[:] = values
        return text
    try:
        # FP64 first: rounding to the signature's datatype, and its range, are the binder's business.
        return np.array(values, np.float64 if dtype.kind == "f" else dtype)
    except (OverflowError, ValueError):
        raise _beyond(field) from None
    except TypeError:
        raise InvalidInput(
            "missing-value", f"column {field.name!r} has a missing value (null), and {field.datatype} has none"
        ) from None


def _beyond(field: Field) -> InvalidInput:
    return InvalidInput("invalid-value", f"column {field.name!r} has a value beyond the range of {field.datatype}")
