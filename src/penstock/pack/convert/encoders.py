"""Encoders of categories: one-hot, ordinal and target encoding as look-ups in a table.

The table is made by asking the fitted encoder itself for every category it knows and for one it does not know, so
every option (drop, rare categories, unknown and missing values) comes out as scikit-learn does it. Where the encoder
refuses an unknown category, so does the graph: its look-up has no such row, and ONNX Runtime fails instead of guessing.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.values import MISSING_TEXT, TEXT, Frame, Value

# Text that no training set holds; numbers that are not known are made from the known ones.
_UNKNOWN_TEXT = "\ufdd1"


def encode(context: Context, estimator: Any, x: Frame) -> Frame:
    """Any encoder with `categories_`, one look-up a column."""
    columns = context.columns(x)
    tables = _tables(estimator)
    if len(columns) != len(tables):
        raise CannotConvert(f"{class_name(estimator)} knows {len(tables)} columns and is given {len(columns)}")
    parts = [_look_up(context, *pair) for pair in zip(columns, estimator.categories_, tables, strict=True)]
    dtype = np.dtype(getattr(estimator, "dtype", np.float64)).name
    values = [context.cast(value, dtype) for value in parts if value.width]
    if not values:
        raise CannotConvert(f"{class_name(estimator)} gives no column")
    return Frame(tuple(values))


def _tables(estimator: Any) -> list[np.ndarray[Any, Any]]:
    """For each column the encoder's answer to each category; a last row for an unknown one, if it accepts one."""
    import pandas as pd

    categories = estimator.categories_
    names = list(getattr(estimator, "feature_names_in_", range(len(categories))))
    first = [found[:1] for found in categories]
    tables = []
    for position, found in enumerate(categories):
        asked = found if _refuses_unknown(estimator) else np.append(found, _unknown(found))
        rows = {
            name: asked if index == position else np.repeat(first[index], len(asked))
            for index, name in enumerate(names)
        }
        frame = pd.DataFrame({name: pd.Series(column, dtype=column.dtype) for name, column in rows.items()})
        tables.append(_ask(estimator, frame)[:, _columns_of(estimator, position)])
    return tables


def _ask(estimator: Any, frame: Any) -> np.ndarray[Any, Any]:
    with warnings.catch_warnings():
        # Asking for an unknown category warns; that is what is wanted here.
        warnings.simplefilter("ignore")
        answer = estimator.transform(frame)
    return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)


def _refuses_unknown(estimator: Any) -> bool:
    return bool(getattr(estimator, "handle_unknown", "ignore") == "error")


def _unknown(categories: Any) -> Any:
    """One value that is no category; none where every possible value is one."""
    if categories.dtype.kind in "OUST":
        return np.array([_UNKNOWN_TEXT], object)
    if categories.dtype.kind == "b":
        return np.setdiff1d([False, True], categories)
    finite = categories[~np.isnan(categories)] if categories.dtype.kind == "f" else categories
    return np.array([finite.max() + 1 if len(finite) else 0], categories.dtype)


def _columns_of(estimator: Any, position: int) -> slice | list[int]:
    if hasattr(estimator, "_n_features_outs"):
        ends = np.cumsum(estimator._n_features_outs)
        return slice(int(ends[position] - estimator._n_features_outs[position]), int(ends[position]))
    width = len(estimator.classes_) if getattr(estimator, "target_type_", "") == "multiclass" else 1
    return slice(position * width, (position + 1) * width)


def _look_up(context: Context, column: Value, categories: Any, table: np.ndarray[Any, Any]) -> Value:
    width, open_ended = table.shape[1], len(table) > len(categories)
    if width == 0:
        return Value("", "float64", 0)
    if width == 1 and open_ended:
        column, keys, rows = _keys(context, column, categories)
        answers = table[:, 0].astype(np.float64)
        name = context.graph.op(
            "LabelEncoder",
            column.name,
            keys_tensor=keys,
            values_tensor=answers[rows],
            default_tensor=answers[-1:],
        )
        return Value(name, "float64", 1)
    index = code_of(context, column, categories)
    rows_of_table = context.graph.constant(table.astype(np.float64))
    return Value(context.graph.op("GatherND", rows_of_table, index), "float64", width)


def code_of(context: Context, column: Value, categories: Any) -> str:
    """The name of the int64 codes [rows, 1] of a column: positions in `categories`, one past the last if unknown."""
    column, keys, codes = _keys(context, column, categories)
    return context.graph.op(
        "LabelEncoder",
        column.name,
        keys_tensor=keys,
        values_tensor=codes,
        # A table's last row is for unknown values; where it has no such row, the look-up fails instead of guessing.
        default_tensor=np.array([len(categories)], np.int64),
    )


def _keys(context: Context, column: Value, categories: Any) -> tuple[Value, Any, Any]:
    """The column and the categories as keys of one dtype, and the positions of those that can appear in it."""
    codes = np.arange(len(categories))
    if column.dtype == TEXT:
        keys = [MISSING_TEXT if _is_missing(category) else category for category in categories.tolist()]
        if not all(isinstance(key, str) for key in keys):
            raise CannotConvert("a column of text is encoded with categories that are not text")
        # None and NaN are two categories to scikit-learn, but one missing value to a caller: the first is it.
        kept = [key not in keys[:at] for at, key in enumerate(keys)]
        codes = codes[kept]
        keys = np.array(keys, object)[kept].tolist()
        if column.fill in keys:
            keys, codes = [*keys, MISSING_TEXT], np.append(codes, codes[keys.index(column.fill)])
        return column, np.array(keys, object), codes
    if categories.dtype.kind in "OUST":
        try:
            categories = np.array([np.nan if _is_missing(key) else key for key in categories.tolist()], np.float64)
        except (TypeError, ValueError):
            raise CannotConvert("a column of numbers is encoded with categories that are text") from None
    dtype = "float64" if column.dtype.startswith("float") or categories.dtype.kind == "f" else "int64"
    return context.cast(column, dtype), categories.astype(dtype), codes


def _is_missing(category: Any) -> bool:
    return category is None or category != category


TRANSFORMS = {
    "sklearn.OneHotEncoder": encode,
    "sklearn.OrdinalEncoder": encode,
    "sklearn.TargetEncoder": encode,
}
