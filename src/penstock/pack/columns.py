"""One column of a table as a tensor, and what its values cannot tell the model that reads them back."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Scalar
from penstock.core.tensors import DTYPES, Array, datatype_of

# More distinct texts than this are not categories but free text, names or keys.
MAX_CATEGORIES = 100
_EXACT_INTEGERS = 2**53


class Column(msgspec.Struct, frozen=True):
    """A column: its field in the signature, its values as the signature's dtype, and the adapters' `columns` option."""

    field: Field
    values: Array
    options: dict[str, Any]


def read_column(name: str, series: pd.Series) -> Column:
    """The column `series`; raises InvalidInput("unsupported-column") for values that no datatype can carry.

    Example:
        >>> column = read_column("age", pd.Series([31, 64]))
        >>> column.field.datatype, column.field.shape, column.values.tolist()
        ('INT64', (-1,), [31, 64])
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(name, series)
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return _number(name, series)
    if isinstance(dtype, pd.StringDtype) or dtype == np.dtype(object):
        return _text(name, series)
    raise InvalidInput(
        "unsupported-column",
        f"column {name!r} has dtype {dtype}, which has no datatype in the protocol",
        hint=f"turn it into a number or a text before training, or read it as one with --dtype {name}=str",
    )


def _number(name: str, series: pd.Series) -> Column:
    dtype = series.dtype
    nullable = bool(series.isna().any())
    integers = ""
    if isinstance(dtype, np.dtype):
        values = series.to_numpy()
        options: dict[str, Any] = {}
    else:
        # pandas' own integers and booleans may hold missing values, which no integer tensor can: they travel as FP64.
        options = {"dtype": str(dtype)}
        if nullable and pd.api.types.is_bool_dtype(dtype):
            raise _mixed(name, "booleans with missing values")
        if nullable and pd.api.types.is_integer_dtype(dtype) and series.abs().max() > _EXACT_INTEGERS:
            raise _mixed(name, "integers beyond 2^53 with missing values")
        if nullable and pd.api.types.is_integer_dtype(dtype):
            integers = datatype_of(np.empty(0, _plain(dtype)))
        values = series.to_numpy(np.float64, na_value=np.nan) if nullable else series.to_numpy(_plain(dtype))
    if values.dtype.newbyteorder("=") not in DTYPES.values():
        raise _mixed(name, f"values of dtype {values.dtype}")
    field = Field(name=name, datatype=datatype_of(values), shape=(-1,), nullable=nullable, integers=integers)
    return Column(field, values.astype(values.dtype.newbyteorder("="), copy=False), options)


def _plain(dtype: Any) -> Any:
    return getattr(dtype, "numpy_dtype", np.dtype(np.float64))


def _text(name: str, series: pd.Series) -> Column:
    missing = series.isna().to_numpy(np.bool_)
    values = series.to_numpy(object, copy=True)
    kinds = {type(value) for value in values[~missing]}
    if kinds - {str, np.str_}:
        raise _mixed(name, f"values of {', '.join(sorted(kind.__name__ for kind in kinds))}")
    # An encoder that learned None and one that learned NaN are two different models: hand back what it was trained on.
    options = {"dtype": "object"} if any(value is None for value in values) else {}
    if isinstance(series.dtype, pd.StringDtype) and series.dtype.na_value is pd.NA:
        options = {"dtype": "string"}
    values[missing] = None
    field = Field(name=name, datatype="BYTES", shape=(-1,), nullable=bool(missing.any()), categories=_few(values))
    return Column(field, values, options)


def _few(values: Array) -> tuple[Scalar, ...] | None:
    distinct = sorted({value for value in values.tolist() if value is not None})
    # Each value seen twice on average, or it may be a name: those must not be written into a manifest.
    return tuple(distinct) if distinct and len(distinct) <= min(MAX_CATEGORIES, len(values) // 2) else None


def _category(name: str, series: pd.Series) -> Column:
    categories: list[Scalar] = series.cat.categories.tolist()
    options = {"dtype": "category", "categories": categories, "ordered": bool(series.cat.ordered)}
    nullable = bool(series.isna().any())
    if all(isinstance(value, str) for value in categories):
        values = series.to_numpy(object, copy=True)
        values[series.isna().to_numpy(np.bool_)] = None
    else:
        plain = series.astype(series.cat.categories.dtype) if not nullable else series.astype(np.float64)
        column = _number(name, pd.Series(plain.to_numpy()))
        values, categories = column.values, [column.values.dtype.type(value).item() for value in categories]
    field = Field(name=name, datatype=datatype_of(values), shape=(-1,), nullable=nullable, categories=tuple(categories))
    return Column(field, values, options)


def _mixed(name: str, what: str) -> InvalidInput:
    return InvalidInput(
        "unsupported-column",
        f"column {name!r} holds {what}, which no datatype of the protocol carries",
        hint=f"clean the column, or read it as something else, for example --dtype {name}=str",
    )
