"""Models of scikit-learn that are made of other models: votes, stacks, bags, calibration, several targets."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import normalised
from penstock.pack.convert.values import Classified, Frame, Value


def probabilities(context: Context, estimator: Any, x: Frame) -> Value:
    """What `predict_proba` gives, as float64."""
    found = context.classify(estimator, x).probabilities
    if found is None:
        raise CannotConvert(f"{class_name(estimator)} has no probabilities, and the model around it asks for them")
    return context.cast(found, "float64")


def mean(context: Context, values: list[Value], weights: Any = None) -> Value:
    """The weighted mean of equal shapes, added up in order and divided last, as numpy does."""
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    parts = [
        value if weight == 1.0 else context.apply("Mul", value, weight)
        for value, weight in zip(values, weights.tolist(), strict=True)
    ]
    total = reduce(lambda left, right: context.combine("Add", left, right), parts)
    return context.apply("Div", total, float(weights.sum()))


def voted_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """VotingClassifier: the mean of probabilities, or the most votes."""
    weights = estimator._weights_not_none
    if estimator.voting == "soft":
        shares = mean(context, [probabilities(context, one, x) for one in estimator.estimators_], weights)
        return Classified(context.largest(shares), shares)
    votes = []
    for one, weight in zip(estimator.estimators_, weights or [1.0] * len(estimator.estimators_), strict=True):
        index = context.classify(one, x).index
        rows = context.graph.constant(np.eye(len(estimator.classes_)) * weight)
        votes.append(Value(context.graph.op("Gather", rows, index.name), "float64", len(estimator.classes_)))
    return Classified(context.largest(reduce(lambda left, right: context.combine("Add", left, right), votes)))


def voted_values(context: Context, estimator: Any, x: Frame) -> Value:
    """VotingRegressor: the weighted mean."""
    values = [context.cast(context.regress(one, x), "float64") for one in estimator.estimators_]
    return mean(context, values, estimator._weights_not_none)


def bagged_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """BaggingClassifier: the mean of probabilities over models that see some of the columns."""
    count = len(estimator.classes_)
    shares = []
    for one, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        if len(one.classes_) != count or not hasattr(one, "predict_proba"):
            raise CannotConvert("BaggingClassifier has models without probabilities for every class")
        shares.append(probabilities(context, one, _some(context, x, columns)))
    total = mean(context, shares)
    return Classified(context.largest(total), total)


def bagged_values(context: Context, estimator: Any, x: Frame) -> Value:
    """BaggingRegressor: the mean over models that see some of the columns."""
    pairs = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    return mean(
        context, [context.cast(context.regress(one, _some(context, x, columns)), "float64") for one, columns in pairs]
    )


def _some(context: Context, x: Frame, columns: Any) -> Frame:
    # A bag reads its input as one matrix before it deals out columns.
    return context.select(Frame((context.matrix(x),)), [int(column) for column in columns])


def stacked_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """StackingClassifier: a classifier on the answers of others."""
    return context.classify(estimator.final_estimator_, _stack(context, estimator, x))


def stacked_values(context: Context, estimator: Any, x: Frame) -> Value:
    """StackingRegressor: a regressor on the answers of others."""
    return context.regress(estimator.final_estimator_, _stack(context, estimator, x))


def _stack(context: Context, estimator: Any, x: Frame) -> Frame:
    answers = []
    for one, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        if method == "predict_proba":
            shares = probabilities(context, one, x)
            # Of two classes the first says nothing that the second does not.
            answers.append(context.take(shares, [1]) if shares.width == 2 else shares)
        elif method == "decision_function":
            answers.append(context.cast(_decision(context, one, x), "float64"))
        elif hasattr(one, "classes_"):
            raise CannotConvert("StackingClassifier stacks labels")
        else:
            answers.append(_column(context, context.cast(context.regress(one, x), "float64")))
    return Frame((*answers, *(x.values if estimator.passthrough else ())))


def _decision(context: Context, estimator: Any, x: Frame) -> Value:
    found = context.classify(estimator, x).decision
    if found is None:
        raise CannotConvert(f"the decision function of {class_name(estimator)} has no converter")
    return found


def _column(context: Context, value: Value) -> Value:
    if value.width:
        return value
    axis = context.graph.constant(np.array([1]))
    return Value(context.graph.op("Unsqueeze", value.name, axis), value.dtype, 1)


def calibrated(context: Context, estimator: Any, x: Frame) -> Classified:
    """CalibratedClassifierCV by Platt's sigmoid: the mean over its folds."""
    shares = [_calibrated(context, one, x) for one in estimator.calibrated_classifiers_]
    total = mean(context, shares)
    return Classified(context.largest(total), total)


def _calibrated(context: Context, one: Any, x: Frame) -> Value:
    if one.method != "sigmoid":
        raise CannotConvert(f"calibration by {one.method!r} has no converter")
    if hasattr(one.estimator, "decision_function"):
        scores = context.cast(_decision(context, one.estimator, x), "float64")
    else:
        scores = probabilities(context, one.estimator, x)
        scores = context.take(scores, [1]) if scores.width == 2 else scores
    if len(one.calibrators) != scores.width:
        raise CannotConvert("a fold of the calibration lacks a class")
    steep = np.array([-calibrator.a_ for calibrator in one.calibrators])
    shift = np.array([-calibrator.b_ for calibrator in one.calibrators])
    shares = context.apply("Sigmoid", context.apply("Add", context.apply("Mul", scores, steep), shift))
    if shares.width == 1:
        return context.affine(shares, [[-1.0, 1.0]], [1.0, 0.0])
    return normalised(context, shares)


def one_against_rest(context: Context, estimator: Any, x: Frame) -> Classified:
    """OneVsRestClassifier of more than two classes: the classifier that is surest."""
    if estimator.multilabel_ or len(estimator.estimators_) < 3:
        raise CannotConvert("OneVsRestClassifier with several labels a row, or of two classes")
    said = [context.classify(one, x) for one in estimator.estimators_]
    scores = []
    for one, answer in zip(estimator.estimators_, said, strict=True):
        score = answer.decision if hasattr(one, "decision_function") else answer.probabilities
        if score is None:
            raise CannotConvert(f"{class_name(one)} has no score that OneVsRestClassifier could compare")
        scores.append(context.cast(score if score.width == 1 else context.take(score, [1]), "float64"))
    joined = context.join(scores)
    # Later classifiers win ties: scikit-learn overwrites the winner while it goes through them.
    index = context.largest(joined, last=True)
    if any(answer.probabilities is None for answer in said):
        return Classified(index, None, joined)
    shares = [
        context.take(context.cast(answer.probabilities, "float64"), [1]) for answer in said if answer.probabilities
    ]
    return Classified(index, normalised(context, context.join(shares)), joined)


def several_values(context: Context, estimator: Any, x: Frame) -> Value:
    """MultiOutputRegressor: one regressor a target."""
    return context.join(
        [_column(context, context.cast(context.regress(one, x), "float64")) for one in estimator.estimators_]
    )


CLASSIFIERS = {
    "sklearn.VotingClassifier": voted_classes,
    "sklearn.BaggingClassifier": bagged_classes,
    "sklearn.StackingClassifier": stacked_classes,
    "sklearn.CalibratedClassifierCV": calibrated,
    "sklearn.OneVsRestClassifier": one_against_rest,
}
REGRESSORS = {
    "sklearn.VotingRegressor": voted_values,
    "sklearn.BaggingRegressor": bagged_values,
    "sklearn.StackingRegressor": stacked_values,
    "sklearn.MultiOutputRegressor": several_values,
}
