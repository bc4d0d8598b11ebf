"""Models of scikit-learn that hold one other model: searches, thresholds, transformed targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.compose import FUNCTIONS
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.values import Classified, Frame, Value


def inner_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """A search or a frozen estimator: the model inside."""
    return context.classify(_inner(estimator), x)


def inner_values(context: Context, estimator: Any, x: Frame) -> Value:
    """A search, a frozen estimator or RANSAC: the model inside."""
    return context.regress(_inner(estimator), x)


def _inner(estimator: Any) -> Any:
    for name in ("best_estimator_", "estimator_", "estimator"):
        # A search that was not refitted has an unfitted `estimator` only.
        if hasattr(estimator, name) and (name != "estimator" or class_name(estimator) == "sklearn.FrozenEstimator"):
            return getattr(estimator, name)
    raise CannotConvert(f"{class_name(estimator)} was not refitted and holds no model")


def threshold(context: Context, estimator: Any, x: Frame) -> Classified:
    """FixedThresholdClassifier and TunedThresholdClassifierCV: the second class from a probability on."""
    said = context.classify(estimator.estimator_, x)
    least = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", "auto"))
    plain = getattr(estimator, "pos_label", None) is None and estimator.response_method in ("auto", "predict_proba")
    if said.probabilities is None or not plain or isinstance(least, str):
        raise CannotConvert(f"{class_name(estimator)} does not cut the probability of the second class")
    share = context.take(context.cast(said.probabilities, "float64"), [1])
    reached = context.apply("GreaterOrEqual", share, least, dtype="bool")
    return Classified(context.flat(context.cast(reached, "int64")), said.probabilities, said.decision)


def transformed_target(context: Context, estimator: Any, x: Frame) -> Value:
    """TransformedTargetRegressor: the inner answer through the inverse function or an inverse StandardScaler."""
    value = context.cast(context.regress(estimator.regressor_, x), "float64")
    if value.width:
        raise CannotConvert("TransformedTargetRegressor with several targets")
    inner = estimator.transformer_
    if class_name(inner) == "sklearn.FunctionTransformer":
        operations = FUNCTIONS.get(inner.inverse_func) if isinstance(inner.inverse_func, np.ufunc) else None
        if operations is None:
            raise CannotConvert("TransformedTargetRegressor has an inverse function without ONNX form")
        for kind, *constants in operations:
            value = context.apply(kind, value, *constants)
        return value
    if class_name(inner) != "sklearn.StandardScaler":
        raise CannotConvert(f"TransformedTargetRegressor has {class_name(inner)} on its target")
    if inner.with_std:
        value = context.apply("Mul", value, inner.scale_[0])
    return context.apply("Add", value, inner.mean_[0]) if inner.with_mean else value


_SEARCHES = (
    "sklearn.GridSearchCV",
    "sklearn.RandomizedSearchCV",
    "sklearn.HalvingGridSearchCV",
    "sklearn.HalvingRandomSearchCV",
    "sklearn.FrozenEstimator",
)
CLASSIFIERS = {
    **dict.fromkeys(_SEARCHES, inner_classes),
    **dict.fromkeys(("sklearn.FixedThresholdClassifier", "sklearn.TunedThresholdClassifierCV"), threshold),
}
REGRESSORS = {
    **dict.fromkeys((*_SEARCHES, "sklearn.RANSACRegressor"), inner_values),
    "sklearn.TransformedTargetRegressor": transformed_target,
}
