"""scikit-learn's trees, forests and gradient boosting (not the histogram kind).

They round features to float32 and compare them with double thresholds, `<=` goes left; NaN goes where the node says.
Source: sklearn/tree/_tree.pyx, sklearn/ensemble/_forest.py, sklearn/ensemble/_gb.py of scikit-learn 1.9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import logistic, softmax
from penstock.pack.convert.forest import Forest, Tree, add_forest, add_vote, start_from
from penstock.pack.convert.thresholds import float32_at_most
from penstock.pack.convert.values import Classified, Frame, Value


def tree_of(fitted: Any, values: Any, target: int = 0) -> Tree:
    """A `sklearn.tree._tree.Tree` with these leaf values, [nodes, k]."""
    left = fitted.children_left.astype(np.int64)
    missing = getattr(fitted, "missing_go_to_left", np.zeros(len(left)))
    return Tree(
        feature=fitted.feature.astype(np.int64),
        threshold=float32_at_most(fitted.threshold),
        left=left,
        right=fitted.children_right.astype(np.int64),
        missing_left=np.asarray(missing).astype(bool),
        values=np.asarray(values, np.float64),
        target=target,
    )


def features(context: Context, x: Frame) -> Value:
    """The frame as the double matrix that our thresholds are made for."""
    return context.matrix(x, "float64")


def vote(context: Context, estimator: Any, x: Frame) -> Classified:
    """A decision tree or a forest: the mean of the leaves' class shares."""
    _one_output(estimator)
    trees = [tree.tree_ for tree in _members(estimator)]
    matrix, classes = features(context, x), len(estimator.classes_)
    if classes == 1:
        raise CannotConvert("the classifier knows a single class")
    if classes == 2:
        # Only the second share is summed: half the work, and the first is its rest.
        forest = Forest(tuple(tree_of(tree, tree.value[:, 0, 1:]) for tree in trees), average=True)
        probabilities = context.affine(add_forest(context.graph, forest, matrix), [[-1.0, 1.0]], [1.0, 0.0])
        return Classified(context.largest(probabilities), probabilities)
    forest = Forest(tuple(tree_of(tree, tree.value[:, 0, :]) for tree in trees), targets=classes)
    index, sums = add_vote(context.graph, forest, matrix)
    return Classified(index, sums if len(trees) == 1 else context.apply("Div", sums, float(len(trees))))


def average(context: Context, estimator: Any, x: Frame) -> Value:
    """A regression tree or forest, of one or several targets."""
    trees = [tree.tree_ for tree in _members(estimator)]
    forest = Forest(
        tuple(tree_of(tree, tree.value[:, :, 0]) for tree in trees), targets=int(estimator.n_outputs_), average=True
    )
    out = add_forest(context.graph, forest, features(context, x))
    return context.flat(out) if forest.targets == 1 else out


def boosted_classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """GradientBoostingClassifier: logistic, exponential (a steeper logistic) or softmax of the summed trees."""
    raw = _boosted(context, estimator, x)
    if raw.width > 1:
        return softmax(context, raw)
    scale = {"log_loss": 1.0, "exponential": 2.0}[estimator.loss]
    return logistic(context, raw, scale=scale, zero_is_positive=True)


def boosted_values(context: Context, estimator: Any, x: Frame) -> Value:
    """GradientBoostingRegressor: the summed trees; its losses have no link function."""
    return context.flat(_boosted(context, estimator, x))


def _boosted(context: Context, estimator: Any, x: Frame) -> Value:
    stages = estimator.estimators_
    if not isinstance(estimator.init_, str) and class_name(estimator.init_) not in (
        "sklearn.DummyClassifier",
        "sklearn.DummyRegressor",
    ):
        raise CannotConvert(f"{class_name(estimator)} starts from a model of its own (init)")
    # A dummy says the same for every row, so one row of zeros asks for the starting value.
    base = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), np.float32))[0]
    rate = estimator.learning_rate
    trees = [
        tree_of(stage[k].tree_, rate * stage[k].tree_.value[:, :, 0], k) for stage in stages for k in range(len(stage))
    ]
    forest = Forest(start_from(trees, base), targets=stages.shape[1])
    return add_forest(context.graph, forest, features(context, x))


def _members(estimator: Any) -> Iterable[Any]:
    return getattr(estimator, "estimators_", None) or [estimator]


def _one_output(estimator: Any) -> None:
    if estimator.n_outputs_ > 1:
        raise CannotConvert("a classifier of several outputs has no single list of classes")


CLASSIFIERS = {
    **dict.fromkeys(
        (
            "sklearn.DecisionTreeClassifier",
            "sklearn.ExtraTreeClassifier",
            "sklearn.RandomForestClassifier",
            "sklearn.ExtraTreesClassifier",
        ),
        vote,
    ),
    "sklearn.GradientBoostingClassifier": boosted_classes,
}
REGRESSORS = {
    **dict.fromkeys(
        (
            "sklearn.DecisionTreeRegressor",
            "sklearn.ExtraTreeRegressor",
            "sklearn.RandomForestRegressor",
            "sklearn.ExtraTreesRegressor",
        ),
        average,
    ),
    "sklearn.GradientBoostingRegressor": boosted_values,
}
