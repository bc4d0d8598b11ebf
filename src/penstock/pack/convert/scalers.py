"""Numeric transformers of scikit-learn that are a few elementwise operations or one matrix product.

They are written in the order scikit-learn computes them and in its dtype, so results agree to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Frame, Value


def standard(context: Context, estimator: Any, x: Frame) -> Frame:
    """StandardScaler: minus mean, divided by scale."""
    value = context.matrix(x)
    if estimator.with_mean:
        value = context.apply("Sub", value, estimator.mean_)
    if estimator.with_std:
        value = context.apply("Div", value, estimator.scale_)
    return Frame((value,))


def robust(context: Context, estimator: Any, x: Frame) -> Frame:
    """RobustScaler: minus median, divided by range."""
    value = context.matrix(x)
    if estimator.with_centering:
        value = context.apply("Sub", value, estimator.center_)
    if estimator.with_scaling:
        value = context.apply("Div", value, estimator.scale_)
    return Frame((value,))


def min_max(context: Context, estimator: Any, x: Frame) -> Frame:
    """MinMaxScaler: times scale, plus minimum, clipped where asked."""
    value = context.apply("Add", context.apply("Mul", context.matrix(x), estimator.scale_), estimator.min_)
    if estimator.clip:
        value = context.apply("Clip", value, *estimator.feature_range)
    return Frame((value,))


def max_abs(context: Context, estimator: Any, x: Frame) -> Frame:
    """MaxAbsScaler: divided by scale."""
    if getattr(estimator, "clip", False):
        raise CannotConvert("MaxAbsScaler clips")
    return Frame((context.apply("Div", context.matrix(x), estimator.scale_),))


def normalizer(context: Context, estimator: Any, x: Frame) -> Frame:
    """Normalizer: each row divided by its norm; a row of zeros stays as it is."""
    value = context.matrix(x)
    kind, base = {
        "l1": ("ReduceSum", context.apply("Abs", value)),
        "l2": ("ReduceSum", context.combine("Mul", value, value)),
        "max": ("ReduceMax", context.apply("Abs", value)),
    }[estimator.norm]
    axis = context.graph.constant(np.array([1]))
    norm = Value(context.graph.op(kind, base.name, axis, keepdims=1), value.dtype, 1)
    if estimator.norm == "l2":
        norm = context.apply("Sqrt", norm)
    zero = context.apply("Equal", norm, 0.0, dtype="bool")
    one = context.graph.constant(np.ones((1, 1), value.dtype))
    return Frame(
        (context.combine("Div", value, Value(context.graph.op("Where", zero.name, one, norm.name), value.dtype, 1)),)
    )


def binarizer(context: Context, estimator: Any, x: Frame) -> Frame:
    """Binarizer: 1 above the threshold, else 0."""
    value = context.matrix(x)
    above = context.apply("Greater", value, estimator.threshold, dtype="bool")
    return Frame((context.cast(above, value.dtype),))


def selector(context: Context, estimator: Any, x: Frame) -> Frame:
    """Feature selection: the columns it keeps."""
    return context.select(x, estimator.get_support(indices=True).tolist())


def projection(context: Context, estimator: Any, x: Frame) -> Frame:
    """PCA: centred rows times the components, divided by their deviation where it whitens."""
    value = context.cast(context.matrix(x), "float64")
    weights = estimator.components_.T
    out = context.affine(value, weights, -(estimator.mean_.reshape(1, -1) @ weights).ravel())
    if estimator.whiten:
        # Tiny variances are raised to the smallest step of the dtype, or noise would blow up.
        scale = np.maximum(np.sqrt(estimator.explained_variance_), np.finfo(np.float64).eps)
        out = context.apply("Div", out, scale)
    return Frame((out,))


def truncated(context: Context, estimator: Any, x: Frame) -> Frame:
    """TruncatedSVD: rows times the components."""
    value = context.cast(context.matrix(x), "float64")
    return Frame((context.affine(value, estimator.components_.T, 0.0),))


def polynomial(context: Context, estimator: Any, x: Frame) -> Frame:
    """PolynomialFeatures: for each output the product of the columns it is made of."""
    value = context.matrix(x)
    powers = estimator.powers_
    degree = int(powers.sum(axis=1).max())
    one = context.graph.op(
        "Add",
        context.graph.op("Mul", context.take(value, [0]).name, context.graph.constant(np.zeros((1, 1), value.dtype))),
        context.graph.constant(np.ones((1, 1), value.dtype)),
    )
    padded = context.join([value, Value(one, value.dtype, 1)])
    # Each output as exactly `degree` factors; the column of ones fills up the lower degrees.
    factors = [
        [column for column, power in enumerate(row) for _ in range(power)] + [value.width] * (degree - int(row.sum()))
        for row in powers.tolist()
        for row in [np.array(row)]
    ]
    product = context.take(padded, [row[0] for row in factors])
    for at in range(1, degree):
        product = context.combine("Mul", product, context.take(padded, [row[at] for row in factors]))
    return Frame((Value(product.name, value.dtype, len(factors)),))


TRANSFORMS = {
    "sklearn.StandardScaler": standard,
    "sklearn.RobustScaler": robust,
    "sklearn.MinMaxScaler": min_max,
    "sklearn.MaxAbsScaler": max_abs,
    "sklearn.Normalizer": normalizer,
    "sklearn.Binarizer": binarizer,
    "sklearn.PCA": projection,
    "sklearn.TruncatedSVD": truncated,
    "sklearn.PolynomialFeatures": polynomial,
    **dict.fromkeys(
        (
            f"sklearn.{name}"
            for name in (
                "SelectKBest",
                "SelectPercentile",
                "SelectFpr",
                "SelectFdr",
                "SelectFwe",
                "GenericUnivariateSelect",
                "VarianceThreshold",
                "SelectFromModel",
                "RFE",
                "RFECV",
                "SequentialFeatureSelector",
            )
        ),
        selector,
    ),
}
