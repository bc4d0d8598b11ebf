"""Pipelines and the ways to send columns through different steps."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Classified, Frame, Value


def pipeline(context: Context, estimator: Any, x: Frame) -> Frame:
    """A pipeline of transformers."""
    return context.transform(estimator.steps[-1][1], _before_last(context, estimator, x))


def pipeline_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """A pipeline that ends in a classifier."""
    return context.classify(estimator.steps[-1][1], _before_last(context, estimator, x))


def pipeline_values(context: Context, estimator: Any, x: Frame) -> Value:
    """A pipeline that ends in a regressor."""
    return context.regress(estimator.steps[-1][1], _before_last(context, estimator, x))


def _before_last(context: Context, estimator: Any, x: Frame) -> Frame:
    for _, step in estimator.steps[:-1]:
        x = context.transform(step, x)
    return x


def column_transformer(context: Context, estimator: Any, x: Frame) -> Frame:
    """Each transformer on its columns, side by side in the order of the transformers."""
    values: list[Value] = []
    for name, transformer, _ in estimator.transformers_:
        positions = [int(position) for position in estimator._transformer_to_input_indices[name]]
        if (isinstance(transformer, str) and transformer == "drop") or not positions:
            continue
        values += context.transform(transformer, context.select(x, positions)).values
    return _side_by_side(values)


def feature_union(context: Context, estimator: Any, x: Frame) -> Frame:
    """Every transformer on all columns, side by side, each times its weight."""
    weights = estimator.transformer_weights or {}
    values: list[Value] = []
    for name, transformer in estimator.transformer_list:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        part = context.transform(transformer, x)
        if name in weights:
            part = Frame((context.apply("Mul", context.matrix(part), weights[name]),))
        values += part.values
    return _side_by_side(values)


def _side_by_side(values: list[Value]) -> Frame:
    if not values:
        raise CannotConvert("every column is dropped")
    return Frame(tuple(values))


def function(context: Context, estimator: Any, x: Frame) -> Frame:
    """FunctionTransformer: no function, scikit-learn's own check, or a numpy function that ONNX has exactly."""
    wanted = estimator.func
    if wanted is None:
        return x
    if isinstance(wanted, functools.partial) and wanted.func.__name__ == "check_array":
        return Frame((context.matrix(x, "float64"),))
    operations = FUNCTIONS.get(wanted) if isinstance(wanted, np.ufunc) else None
    if operations is None or estimator.kw_args:
        name = getattr(wanted, "__name__", type(wanted).__name__)
        raise CannotConvert(f"FunctionTransformer calls {name!r}, which has no ONNX form")
    value = context.matrix(x)
    for kind, *constants in operations:
        value = context.apply(kind, value, *constants)
    return Frame((value,))


# By numpy function the ONNX operations, with their constants, that make it. log1p and expm1 keep an absolute error of
# one rounding of 1, not the relative one of numpy.
FUNCTIONS: dict[Any, tuple[tuple[Any, ...], ...]] = {
    np.log: (("Log",),),
    np.exp: (("Exp",),),
    np.log1p: (("Add", 1.0), ("Log",)),
    np.expm1: (("Exp",), ("Sub", 1.0)),
    np.sqrt: (("Sqrt",),),
    np.abs: (("Abs",),),
    np.negative: (("Neg",),),
    np.reciprocal: (("Reciprocal",),),
    np.floor: (("Floor",),),
    np.ceil: (("Ceil",),),
    np.sin: (("Sin",),),
    np.cos: (("Cos",),),
    np.tanh: (("Tanh",),),
}
TRANSFORMS = {
    "sklearn.Pipeline": pipeline,
    "sklearn.ColumnTransformer": column_transformer,
    "sklearn.FeatureUnion": feature_union,
    "sklearn.FunctionTransformer": function,
}
CLASSIFIERS = {"sklearn.Pipeline": pipeline_classes}
REGRESSORS = {"sklearn.Pipeline": pipeline_values}
