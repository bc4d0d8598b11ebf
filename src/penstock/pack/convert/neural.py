"""scikit-learn's multi-layer perceptrons."""

from __future__ import annotations

from typing import Any

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.values import Classified, Frame, Value

_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": None}


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """MLPClassifier: the second class above one half, or the largest of a softmax."""
    if estimator.out_activation_ not in ("logistic", "softmax") or estimator._label_binarizer.y_type_.startswith(
        "multil"
    ):
        raise CannotConvert("MLPClassifier with several labels a row")
    out = _layers(context, estimator, x)
    if estimator.out_activation_ == "softmax":
        shares = context.apply("Softmax", out, axis=1)
    else:
        shares = context.affine(context.apply("Sigmoid", out), [[-1.0, 1.0]], [1.0, 0.0])
    return Classified(context.largest(shares), shares)


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """MLPRegressor."""
    if estimator.out_activation_ != "identity":
        raise CannotConvert(f"MLPRegressor ends in {estimator.out_activation_!r}")
    out = _layers(context, estimator, x)
    return context.flat(out) if out.width == 1 else out


def _layers(context: Context, estimator: Any, x: Frame) -> Value:
    value = context.matrix(x)
    kind = _ACTIVATIONS[estimator.activation]
    for depth, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        if depth and kind:
            value = context.apply(kind, value)
        value = context.affine(context.cast(value, weights.dtype.name), weights, bias)
    return value


CLASSIFIERS = {"sklearn.MLPClassifier": classes}
REGRESSORS = {"sklearn.MLPRegressor": values}
