"""SimpleImputer and MissingIndicator of scikit-learn, on numbers and on text."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import MISSING_TEXT, TEXT, Frame, Value


def simple(context: Context, estimator: Any, x: Frame) -> Frame:
    """SimpleImputer: missing values replaced, columns without any value left out, flags of missing values added."""
    columns = context.columns(x) if TEXT in x.dtypes else [context.matrix(x, _dtype(context, estimator, x))]
    statistics = np.asarray(estimator.statistics_)
    values = (
        _text(context, estimator, columns, statistics)
        if TEXT in x.dtypes
        else _numbers(context, estimator, columns[0], statistics)
    )
    if estimator.add_indicator:
        values.append(_flags(context, estimator.indicator_, columns))
    return Frame(tuple(values))


def indicator(context: Context, estimator: Any, x: Frame) -> Frame:
    """MissingIndicator: one truth value a column."""
    columns = context.columns(x) if TEXT in x.dtypes else [context.matrix(x)]
    return Frame((context.cast(_flags(context, estimator, columns), "bool"),))


def _dtype(context: Context, estimator: Any, x: Frame) -> str:
    if estimator.strategy in ("most_frequent", "constant") and len(x.dtypes) == 1:
        (only,) = x.dtypes
        return "float64" if only == "bool" else only
    return "float32" if x.dtypes == {"float32"} else "float64"


def _numbers(context: Context, estimator: Any, matrix: Value, statistics: Any) -> list[Value]:
    statistics = np.array([np.nan if fill is None else fill for fill in statistics.tolist()], np.float64)
    known = np.ones(len(statistics), bool) if estimator.keep_empty_features else ~np.isnan(statistics)
    kept = context.take(matrix, np.flatnonzero(known).tolist())
    missing = _is_missing(context, estimator, kept)
    if missing is None:
        return [kept]
    fill = context.graph.constant(statistics[known].astype(kept.dtype)[None, :])
    return [Value(context.graph.op("Where", missing.name, fill, kept.name), kept.dtype, kept.width)]


def _text(context: Context, estimator: Any, columns: list[Value], statistics: Any) -> list[Value]:
    values = []
    for column, fill in zip(columns, statistics.tolist(), strict=True):
        if column.dtype != TEXT:
            raise CannotConvert("SimpleImputer is given text and numbers at once")
        if fill is None or fill != fill:
            if not estimator.keep_empty_features:
                continue
            raise CannotConvert("SimpleImputer keeps a column of text that was empty in training")
        if isinstance(estimator.missing_values, str):
            missing = _is_missing(context, estimator, column)
            constant = context.graph.constant(np.array([[fill]], object))
            filled = context.graph.op("Where", missing.name, constant, column.name) if missing else column.name
            values.append(Value(filled, TEXT, 1, column.nullable))
        else:
            values.append(Value(column.name, TEXT, 1, fill=fill if column.nullable else column.fill))
    return values


def _is_missing(context: Context, estimator: Any, value: Value) -> Value | None:
    """Truth values where `value` is missing; None where it cannot be."""
    marker = estimator.missing_values
    absent = marker is None or marker != marker
    if value.dtype == TEXT:
        if absent and not value.nullable:
            return None
        if not absent and not isinstance(marker, str):
            raise CannotConvert(f"text is searched for the missing value {marker!r}")
        if value.fill is not None:
            raise CannotConvert("text is imputed twice, first its missing values and then a marker")
        sought = context.graph.constant(np.array([[MISSING_TEXT if absent else marker]], object))
        return Value(context.graph.op("Equal", value.name, sought), "bool", value.width)
    if absent:
        return context.apply("IsNaN", value, dtype="bool") if value.dtype.startswith("float") else None
    return context.apply("Equal", value, marker, dtype="bool")


def _flags(context: Context, estimator: Any, columns: list[Value]) -> Value:
    """The indicator's columns as float64."""
    wanted = estimator.features_.tolist()
    flags = []
    for column in columns:
        found = _is_missing(context, estimator, column)
        if found is None:
            if set(wanted) and not column.nullable:
                raise CannotConvert("a missing-value flag is asked of a column that cannot be missing")
            continue
        flags.append(context.cast(found, "float64"))
    return context.take(context.join(flags), wanted)


TRANSFORMS = {"sklearn.SimpleImputer": simple, "sklearn.MissingIndicator": indicator}
