"""Transformers of scikit-learn that bend or cut each column: power transforms and bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Frame, Value

# Nearer to its limit a power says nothing but rounding errors: (x ** p - 1) / p for tiny p.
_LEAST_POWER = 1e-4


def power(context: Context, estimator: Any, x: Frame) -> Frame:
    """PowerTransformer: Box-Cox or Yeo-Johnson column by column, then standardised where asked."""
    value = context.cast(context.matrix(x), "float64")
    powers = np.asarray(estimator.lambdas_, np.float64)
    if estimator.method == "box-cox":
        out = _box_cox(context, value, powers)
    else:
        negative = context.apply("Less", value, 0.0, dtype="bool")
        above = _box_cox(context, context.apply("Add", context.apply("Max", value, 0.0), 1.0), powers)
        mirrored = context.apply("Neg", context.apply("Min", value, 0.0))
        below = context.apply("Neg", _box_cox(context, context.apply("Add", mirrored, 1.0), 2.0 - powers))
        out = Value(context.graph.op("Where", negative.name, below.name, above.name), "float64", value.width)
    result = Frame((out,))
    return context.transform(estimator._scaler, result) if estimator.standardize else result


def _box_cox(context: Context, value: Value, powers: Any) -> Value:
    """(x ** p - 1) / p by column, and log(x) where p is 0."""
    flat = powers == 0.0
    if np.any(~flat & (np.abs(powers) < _LEAST_POWER)):
        raise CannotConvert("PowerTransformer found a power so near to its limit that rounding decides")
    safe = np.where(flat, 1.0, powers)
    bent = context.apply("Div", context.apply("Sub", context.apply("Pow", value, safe), 1.0), safe)
    if not flat.any():
        return bent
    which = context.graph.constant(flat[None, :])
    return Value(context.graph.op("Where", which, context.apply("Log", value).name, bent.name), "float64", value.width)


def bins(context: Context, estimator: Any, x: Frame) -> Frame:
    """KBinsDiscretizer: how many inner edges a value has reached, as a number or one-hot."""
    value = context.matrix(x) if estimator.dtype is None else context.matrix(x, np.dtype(estimator.dtype).name)
    columns = []
    for position, edges in enumerate(estimator.bin_edges_):
        column = context.take(value, [position])
        inner = np.asarray(edges[1:-1], np.float64)
        # The edges are doubles: a float32 column is compared as double, as numpy's searchsorted does.
        reached = context.apply("GreaterOrEqual", context.cast(column, "float64"), inner[None, :], dtype="bool")
        axis = context.graph.constant(np.array([1]))
        number = context.graph.op("ReduceSum", context.cast(reached, "int64").name, axis, keepdims=1)
        if estimator.encode == "ordinal":
            columns.append(context.cast(Value(number, "int64", 1), value.dtype))
        else:
            count = len(edges) - 1
            hot = context.graph.op("GatherND", context.graph.constant(np.eye(count, dtype=value.dtype)), number)
            columns.append(Value(hot, value.dtype, count))
    return Frame(tuple(columns))


TRANSFORMS = {"sklearn.PowerTransformer": power, "sklearn.KBinsDiscretizer": bins}
