"""XGBoost's boosters and their scikit-learn wrappers, read from the library's own JSON.

A feature goes left where `float32(x) < threshold` and NaN where the node says. XGBoost adds leaves up in float32, we in
double: the results differ by what float32 rounds. Source: XGBoost 3.2 and 3.4, doc/model.schema and src/objective.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.category_splits import CategorySplits
from penstock.pack.convert.context import Context, class_name
from penstock.pack.convert.decide import both_sides
from penstock.pack.convert.encoders import code_of
from penstock.pack.convert.forest import Forest, Tree, add_forest, start_from
from penstock.pack.convert.thresholds import float32_less
from penstock.pack.convert.values import TEXT, Classified, Frame, Value

_LOGISTIC = {"binary:logistic", "reg:logistic"}
_EXPONENTIAL = {"count:poisson", "reg:gamma", "reg:tweedie"}
_SOFTMAX = {"multi:softprob", "multi:softmax"}
_IDENTITY = {
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:quantileerror", "reg:pseudohubererror"),
    *("binary:logitraw", "rank:ndcg", "rank:map", "rank:pairwise"),
}


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """A wrapper that classifies, or a booster with a probabilistic objective."""
    objective, raw = _raw(context, estimator, x)
    if objective in _LOGISTIC:
        shares = context.apply("Sigmoid", both_sides(context, raw))
    elif objective in _SOFTMAX:
        shares = context.apply("Softmax", raw, axis=1)
    else:
        raise CannotConvert(f"XGBoost classifies by {objective!r}, which has no probabilities")
    # XGBoost compares float32 probabilities: what is equal there is a tie, and the first class wins.
    shares = context.cast(shares, "float32")
    return Classified(context.largest(shares), shares, raw)


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """What `predict` gives for a regressor, a ranker or a booster."""
    objective, raw = _raw(context, estimator, x)
    if objective in _LOGISTIC:
        raw = context.apply("Sigmoid", raw)
    elif objective in _EXPONENTIAL:
        raw = context.apply("Exp", raw)
    elif objective == "multi:softprob":
        raw = context.apply("Softmax", raw, axis=1)
    elif objective == "multi:softmax":
        return context.cast(context.largest(raw), "float32")
    elif objective not in _IDENTITY:
        raise CannotConvert(f"the XGBoost objective {objective!r} has no converter")
    out = context.cast(raw, "float32")
    return context.flat(out) if out.width == 1 else out


def _raw(context: Context, estimator: Any, x: Frame) -> tuple[str, Value]:
    is_booster = class_name(estimator) == "xgboost.Booster"
    if not is_booster and not np.isnan(float(estimator.missing)):
        raise CannotConvert(f"XGBoost takes {estimator.missing} for a missing value; only NaN can be one")
    booster = estimator if is_booster else estimator.get_booster()
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    objective, model = learner["objective"]["name"], learner["gradient_booster"]
    dropped = model.get("weight_drop")
    model = model.get("gbtree", model)
    if "trees" not in model.get("model", {}):
        raise CannotConvert(f"the XGBoost booster {model['name']!r} has no trees")
    model = model["model"]
    count = len(model["trees"])
    # DART's weights lie around its trees; from XGBoost 3.4 on beside them, and the booster is called gbtree.
    weights = dropped or model.get("weight_drop") or [1.0] * count
    if not is_booster and (best := _best_iteration(estimator)) is not None:
        count = int(model["iteration_indptr"][best + 1])
    targets = max(
        int(learner["learner_model_param"]["num_class"]), int(learner["learner_model_param"]["num_target"]), 1
    )
    known, splits = [_categories(encoded) for encoded in model.get("cats", {}).get("enc", [])], CategorySplits()
    grown = [
        (_tree(tree, target, float(weight)), _sets(tree, known, splits))
        for tree, target, weight in list(zip(model["trees"], model["tree_info"], weights, strict=True))[:count]
    ]
    base = _base(learner["learner_model_param"]["base_score"], objective, targets)
    if not grown:
        raise CannotConvert("the XGBoost model has no trees")
    numeric, found = _features(context, known, splits, x)
    forest = Forest(start_from(splits.place(grown, numeric), base), targets=targets)
    matrix = [context.matrix(context.select(x, numeric), "float64")] if numeric else []
    return objective, add_forest(context.graph, forest, context.join([*matrix, *found]))


def _features(
    context: Context, known: list[list[str]], splits: CategorySplits, x: Frame
) -> tuple[list[int], list[Value]]:
    """Positions of the numeric columns, and the columns that the sets of categories became."""
    columns = context.columns(x)
    numeric = [position for position, column in enumerate(columns) if column.dtype != TEXT]
    codes = {}
    for feature in splits.features:
        # A missing value is one more code. XGBoost refuses an unknown category, and so does the look-up.
        categories = np.array([*known[feature], None], object)
        codes[feature] = code_of(context, columns[feature], categories), len(known[feature])
    return numeric, splits.look_up(context, codes)


def _categories(encoded: dict[str, Any]) -> list[str]:
    """The texts of one feature, written end to end as bytes with the offsets where they begin."""
    ends = encoded.get("offsets") or []
    if ends and min(encoded["values"], default=0) < 0:
        # XGBoost 3.2 counts the offsets in characters and the bytes in UTF-8: beyond ASCII it cuts texts in the middle.
        raise CannotConvert("XGBoost categories that are not ASCII have no converter")
    data = bytes(encoded["values"]) if ends else b""
    return [data[begin:end].decode() for begin, end in itertools.pairwise(ends)]


def _sets(tree: dict[str, Any], known: list[list[str]], splits: CategorySplits) -> dict[int, tuple[int, int]]:
    """By node that splits on categories what `splits` gave to its set; members of a set go right."""
    found = {}
    for node, begin, size in zip(
        tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True
    ):
        members = tree["categories"][begin : begin + size]
        feature = tree["split_indices"][node]
        if not (feature < len(known) and known[feature]):
            raise CannotConvert("XGBoost splits on categories that are numbers have no converter")
        goes_right = np.isin(np.arange(len(known[feature])), members)
        found[node] = splits.add(feature, goes_right, otherwise=not tree["default_left"][node])
    return found


def _best_iteration(estimator: Any) -> int | None:
    try:
        return int(estimator.best_iteration)
    except AttributeError:
        # No early stopping took place: every tree counts.
        return None


def _base(text: str, objective: str, targets: int) -> Any:
    """The starting margin; the file states it after the objective's inverse link."""
    start = np.atleast_1d(np.array(json.loads(text), np.float32)).astype(np.float64)
    if objective in _LOGISTIC or objective == "binary:logitraw":
        start = -np.log(1.0 / start - 1.0)
    elif objective in _EXPONENTIAL:
        start = np.log(start)
    return np.broadcast_to(start, (targets,))


def _tree(tree: dict[str, Any], target: int, weight: float) -> Tree:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise CannotConvert("XGBoost trees with several values a leaf have no converter")
    left = np.array(tree["left_children"], np.int64)
    conditions = np.array(tree["split_conditions"], np.float32)
    is_leaf = left < 0
    return Tree(
        feature=np.where(is_leaf, 0, np.array(tree["split_indices"], np.int64)),
        threshold=np.where(is_leaf, 0.0, float32_less(conditions)),
        left=left,
        right=np.array(tree["right_children"], np.int64),
        missing_left=np.array(tree["default_left"], bool) & ~is_leaf,
        # The place of a split's threshold holds the value of a leaf.
        values=np.where(is_leaf, conditions.astype(np.float64) * weight, 0.0)[:, None],
        target=int(target),
    )


CLASSIFIERS = dict.fromkeys(("xgboost.XGBClassifier", "xgboost.XGBRFClassifier", "xgboost.Booster"), classes)
REGRESSORS = dict.fromkeys(
    ("xgboost.XGBRegressor", "xgboost.XGBRFRegressor", "xgboost.XGBRanker", "xgboost.Booster"), values
)
