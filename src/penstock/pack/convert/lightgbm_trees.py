"""LightGBM's boosters and their scikit-learn wrappers, read from the library's own text format.

Doubles are compared with double thresholds, `<=` goes left. A split on categories sends the codes of its bitset left
and everything else right. Source: LightGBM 4.7, include/LightGBM/tree.h (NumericalDecision, CategoricalDecision).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.category_splits import CategorySplits
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import both_sides
from penstock.pack.convert.encoders import code_of
from penstock.pack.convert.forest import Forest, Tree, add_forest
from penstock.pack.convert.values import TEXT, Classified, Frame, Value

_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_MISSING_ZERO, _MISSING_NAN = 1, 2
_IDENTITY = {
    *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    *("lambdarank", "rank_xendcg"),
}
_EXPONENTIAL = {"poisson", "gamma", "tweedie"}


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """A wrapper that classifies, or a booster with a probabilistic objective."""
    objective, raw = _raw(context, estimator, x)
    shares = _shares(context, objective, raw)
    return Classified(context.largest(shares), shares, raw)


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """What `predict` gives for a regressor, a ranker or a booster."""
    objective, raw = _raw(context, estimator, x)
    name = objective[0]
    if name in _EXPONENTIAL:
        raw = context.apply("Exp", raw)
    elif name in ("binary", "cross_entropy"):
        raw = context.apply("Sigmoid", context.apply("Mul", raw, _steepness(objective)))
    elif name in ("multiclass", "multiclassova"):
        return _shares(context, objective, raw)
    elif name not in _IDENTITY or "sqrt" in objective:
        raise CannotConvert(f"the LightGBM objective {' '.join(objective)!r} has no converter")
    return context.flat(raw) if raw.width == 1 else raw


def _shares(context: Context, objective: list[str], raw: Value) -> Value:
    if objective[0] == "binary":
        return context.apply("Sigmoid", context.apply("Mul", both_sides(context, raw), _steepness(objective)))
    if objective[0] == "multiclass":
        return context.apply("Softmax", raw, axis=1)
    if objective[0] == "multiclassova":
        return context.apply("Sigmoid", context.apply("Mul", raw, _steepness(objective)))
    raise CannotConvert(f"LightGBM classifies by {objective[0]!r}, which has no converter")


def _steepness(objective: list[str]) -> float:
    return next((float(word.split(":")[1]) for word in objective if word.startswith("sigmoid:")), 1.0)


def _raw(context: Context, estimator: Any, x: Frame) -> tuple[list[str], Value]:
    booster = estimator if class_name(estimator) == "lightgbm.Booster" else estimator.booster_
    head, *blocks = booster.model_to_string().split("\nTree=")
    header = _fields(head)
    # The last block goes on with a summary of the features.
    trees = [_fields(block.split("\nend of trees")[0]) for block in blocks]
    objective = header["objective"].split() if "objective" in header else ["regression"]
    targets = int(header["num_tree_per_iteration"])
    sources, codes = _features(context, booster, x)
    splits = CategorySplits()
    read = [_tree(tree, index % targets, splits) for index, tree in enumerate(trees)]
    if not read:
        raise CannotConvert("the LightGBM model has no trees")
    forest = Forest(splits.place(read, sources), targets=targets)
    found = splits.look_up(context, {feature: codes(feature, splits.size(feature)) for feature in splits.features})
    matrix = [context.matrix(context.select(x, sources), "float64")] if sources else []
    out = add_forest(context.graph, forest, context.join([*matrix, *found]))
    if "average_output" in head.split("\n"):
        out = context.apply("Div", out, float(len(read) // targets))
    return objective, out


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def _features(context: Context, booster: Any, x: Frame) -> tuple[list[int], Any]:
    """Positions of the numeric columns, and a function that names the codes of a feature of categories."""
    known = booster.pandas_categorical or []
    columns = context.columns(x)
    texts = [position for position, column in enumerate(columns) if column.dtype == TEXT]
    if len(known) != len(texts):
        raise CannotConvert(f"LightGBM was trained with {len(known)} category columns; {len(texts)} columns are text")
    categories = dict(zip(texts, known, strict=True))

    def codes(feature: int, size: int) -> tuple[str, int]:
        if feature in categories:
            found = np.array(categories[feature], object)
            return code_of(context, columns[feature], found), len(found)
        # Numbers that are codes already; LightGBM cuts them off to integers. NaN has no integer.
        value = context.cast(columns[feature], "float64")
        missing = context.apply("IsNaN", value, dtype="bool").name
        none = context.graph.constant(np.array([[-1.0]]))
        whole = context.graph.op("Cast", context.graph.op("Where", missing, none, value.name), to=7)
        return code_of(context, Value(whole, "int64", 1), np.arange(size)), size

    return [position for position in range(len(columns)) if position not in categories], codes


def _tree(tree: dict[str, str], target: int, splits: CategorySplits) -> tuple[Tree, dict[int, tuple[int, int]]]:
    """The tree with its leaves after its inner nodes, and by node the splits on categories."""
    if tree.get("is_linear", "0") != "0":
        raise CannotConvert("LightGBM trees with linear leaves have no converter")
    leaves = np.array(tree["leaf_value"].split(), np.float64)
    if len(leaves) == 1:
        none = np.array([-1])
        return Tree(np.zeros(1, np.int64), np.zeros(1), none, none, np.zeros(1, bool), leaves[:, None], target), {}
    kinds, left, right, feature = (
        np.array(tree[name].split(), np.int64)
        for name in ("decision_type", "left_child", "right_child", "split_feature")
    )
    threshold = np.array(tree["threshold"].split(), np.float64)
    missing, numeric = kinds >> 2 & 3, kinds & _CATEGORICAL == 0
    if np.any(numeric & (missing == _MISSING_ZERO)):
        raise CannotConvert("LightGBM takes zeros for missing values (zero_as_missing)")
    sets = {
        at: splits.add(int(feature[at]), ~_members(tree, int(threshold[at])))
        for at in np.flatnonzero(~numeric).tolist()
    }
    inner, ends = len(left), np.full(len(leaves), -1)
    # NaN counts as 0 unless training met NaN in that feature.
    missing_left = np.where(missing == _MISSING_NAN, kinds & _DEFAULT_LEFT != 0, threshold >= 0.0) & numeric
    pad = np.zeros(len(leaves), np.int64)
    return Tree(
        feature=np.concatenate([feature, pad]),
        threshold=np.concatenate([threshold, pad]),
        left=np.concatenate([np.where(left < 0, inner + ~left, left), ends]),
        right=np.concatenate([np.where(right < 0, inner + ~right, right), ends]),
        missing_left=np.concatenate([missing_left, pad.astype(bool)]),
        values=np.concatenate([np.zeros(inner), leaves])[:, None],
        target=target,
    ), sets


def _members(tree: dict[str, str], number: int) -> Any:
    """The bits of one set: which codes go left."""
    ends = [int(end) for end in tree["cat_boundaries"].split()]
    words = np.array(tree["cat_threshold"].split()[ends[number] : ends[number + 1]], "<u4")
    return np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)


CLASSIFIERS = dict.fromkeys(("lightgbm.LGBMClassifier", "lightgbm.Booster"), classes)
REGRESSORS = dict.fromkeys(("lightgbm.LGBMRegressor", "lightgbm.LGBMRanker", "lightgbm.Booster"), values)
