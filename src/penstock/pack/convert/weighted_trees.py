"""Trees of scikit-learn that do not simply average: AdaBoost's weighted votes and isolation forests' path lengths.

Source: sklearn/ensemble/_weight_boosting.py and _iforest.py of scikit-learn 1.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import logistic
from penstock.pack.convert.forest import Forest, add_forest, add_vote
from penstock.pack.convert.sklearn_trees import features, tree_of
from penstock.pack.convert.values import Classified, Frame, Value

_TREES = ("sklearn.DecisionTreeClassifier", "sklearn.ExtraTreeClassifier")


def adaboost(context: Context, estimator: Any, x: Frame) -> Classified:
    """AdaBoostClassifier over trees: each leaf votes with its tree's weight for one class, against the others."""
    count = len(estimator.classes_)
    members = [tree for tree in estimator.estimators_ if class_name(tree) in _TREES and len(tree.classes_) == count]
    if len(members) < len(estimator.estimators_):
        raise CannotConvert("AdaBoostClassifier boosts something else than trees that know every class")
    weights = np.asarray(estimator.estimator_weights_)[: len(members)]
    matrix = features(context, x)
    grown = []
    for tree, weight in zip(members, weights.tolist(), strict=True):
        chosen = tree.tree_.value[:, 0, :].argmax(axis=1)
        votes = np.where(chosen[:, None] == np.arange(count), weight, -1.0 / (count - 1) * weight)
        # Of two classes the second says all. scikit-learn sums both, which doubles the score.
        grown.append(tree_of(tree.tree_, votes if count > 2 else votes[:, 1:]))
    if count == 2:
        raw = add_forest(context.graph, Forest(tuple(grown)), matrix)
        return logistic(context, context.apply("Mul", raw, 2.0 / weights.sum()))
    index, sums = add_vote(context.graph, Forest(tuple(grown), targets=count), matrix)
    decision = context.apply("Div", sums, float(weights.sum()))
    shares = context.apply("Softmax", context.apply("Div", decision, float(count - 1)), axis=1)
    return Classified(index, shares, decision)


def isolation(context: Context, estimator: Any, x: Frame) -> Value:
    """IsolationForest: -1 for an outlier, 1 for an inlier."""
    trees = []
    for number, (tree, columns) in enumerate(zip(estimator.estimators_, estimator.estimators_features_, strict=True)):
        depths = estimator._decision_path_lengths[number] + estimator._average_path_length_per_tree[number] - 1.0
        grown = tree_of(tree.tree_, np.asarray(depths)[:, None])
        grown.feature[:] = np.asarray(columns)[np.maximum(grown.feature, 0)]
        trees.append(grown)
    total = add_forest(context.graph, Forest(tuple(trees)), features(context, x))
    shallow = context.apply("Less", context.flat(total), _least_inlier_depth(estimator), dtype="bool")
    choice = context.graph.constant(np.array(-1)), context.graph.constant(np.array(1))
    return Value(context.graph.op("Where", shallow.name, *choice), "int64", 0)


def _least_inlier_depth(estimator: Any) -> float:
    """The smallest total depth of an inlier; the graph compares depths and needs no power of two."""
    from sklearn.ensemble._iforest import _average_path_length

    unit = len(estimator.estimators_) * float(_average_path_length([estimator._max_samples])[0])
    if unit == 0.0:
        raise CannotConvert("IsolationForest was trained on single rows")

    def is_inlier(depth: float) -> bool:
        return bool(-(2.0 ** (-depth / unit)) - estimator.offset_ >= 0.0)

    low, high = 0.0, unit * 1100.0
    if is_inlier(low) or not is_inlier(high):
        raise CannotConvert("IsolationForest gives every row the same answer")
    while (middle := low + (high - low) / 2) not in (low, high):
        low, high = (low, middle) if is_inlier(middle) else (middle, high)
    return high


CLASSIFIERS = {"sklearn.AdaBoostClassifier": adaboost}
REGRESSORS = {"sklearn.IsolationForest": isolation}
