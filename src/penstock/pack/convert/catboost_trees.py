"""CatBoost's symmetric trees on numeric features, read from the library's own JSON.

Bit i of a leaf's number is whether `float32(x) > border` holds for the tree's split i. Splits on categories depend on
CatBoost's statistics of the training set and have no converter. Source: CatBoost 1.2, docs "JSON model".
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.context import Context
from penstock.pack.convert.decide import logistic
from penstock.pack.convert.forest import Forest, Tree, add_forest, add_vote, start_from
from penstock.pack.convert.thresholds import float32_at_most
from penstock.pack.convert.values import Classified, Frame, Value

_IDENTITY = {"RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh", "Expectile", "Lq", "MultiRMSE"}
_EXPONENTIAL = {"Poisson", "Tweedie"}


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """CatBoostClassifier: logistic of one raw value, softmax of several."""
    loss, forest = _forest(estimator)
    matrix = context.matrix(x, "float64")
    if float(estimator.get_probability_threshold() or 0.5) != 0.5:
        raise CannotConvert("the CatBoost model decides at another probability than one half")
    if loss in ("Logloss", "CrossEntropy"):
        return logistic(context, add_forest(context.graph, forest, matrix))
    if loss == "MultiClass" and forest.targets == 2:
        # ONNX Runtime decides between two classes by a rule of its own; their difference says the same.
        return logistic(context, add_forest(context.graph, _second_minus_first(forest), matrix))
    if loss == "MultiClass":
        index, raw = add_vote(context.graph, forest, matrix)
        return Classified(index, context.apply("Softmax", raw, axis=1), raw)
    raise CannotConvert(f"the CatBoost loss {loss!r} has no converter")


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """CatBoostRegressor: the raw values, or their exponential where the loss is of counts."""
    loss, forest = _forest(estimator)
    raw = add_forest(context.graph, forest, context.matrix(x, "float64"))
    if loss not in _IDENTITY | _EXPONENTIAL:
        raise CannotConvert(f"the CatBoost loss {loss!r} has no converter")
    out = context.apply("Exp", raw) if loss in _EXPONENTIAL else raw
    return context.flat(out) if out.width == 1 else out


def _second_minus_first(forest: Forest) -> Forest:
    trees = [msgspec.structs.replace(tree, values=tree.values[:, 1:] - tree.values[:, :1]) for tree in forest.trees]
    return Forest(tuple(trees))


def _forest(estimator: Any) -> tuple[str, Forest]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        estimator.save_model(str(path), format="json")
        model = json.loads(path.read_text(encoding="utf-8"))
    if "oblivious_trees" not in model:
        raise CannotConvert("CatBoost trees that are not symmetric have no converter (grow_policy)")
    features = model["features_info"]
    if len(features) > 1 or "float_features" not in features:
        raise CannotConvert("CatBoost features that are categories, text or embeddings have no converter")
    right_if_missing = {
        feature["feature_index"]: feature["nan_value_treatment"] == "AsTrue" for feature in features["float_features"]
    }
    columns = {feature["feature_index"]: feature["flat_feature_index"] for feature in features["float_features"]}
    scale, bias = model["scale_and_bias"]
    trees = [_tree(tree, columns, right_if_missing, scale, len(bias)) for tree in model["oblivious_trees"]]
    loss = str(estimator.get_all_params()["loss_function"]).split(":")[0]
    return loss, Forest(start_from(trees, bias), targets=len(bias))


def _tree(
    tree: dict[str, Any], columns: dict[int, int], right_if_missing: dict[int, bool], scale: float, k: int
) -> Tree:
    splits = tree.get("splits") or []
    if any(split["split_type"] != "FloatFeature" for split in splits):
        raise CannotConvert("CatBoost splits that are not on numbers have no converter")
    depth, inner = len(splits), 2 ** len(splits) - 1
    # The last split is the root, so leaves come out in the order of their numbers. Nodes are numbered by level.
    level = np.repeat(np.arange(depth), 2 ** np.arange(depth)) if depth else np.zeros(0, np.int64)
    split_of = depth - 1 - level
    feature = np.array([split["float_feature_index"] for split in splits], np.int64)
    border = float32_at_most(np.array([split["border"] for split in splits], np.float32))
    left_if_missing = np.array([not right_if_missing[int(at)] for at in feature], bool)
    placed = np.array([columns[int(at)] for at in feature], np.int64)
    leaves, ends = 2**depth, np.full(2**depth, -1)
    children = 2 * np.arange(inner) + 1
    values = np.array(tree["leaf_values"], np.float64).reshape(leaves, k) * scale
    return Tree(
        feature=np.concatenate([placed[split_of], np.zeros(leaves, np.int64)]),
        threshold=np.concatenate([border[split_of], np.zeros(leaves)]),
        left=np.concatenate([children, ends]),
        right=np.concatenate([children + 1, ends]),
        missing_left=np.concatenate([left_if_missing[split_of], np.zeros(leaves, bool)]),
        values=np.concatenate([np.zeros((inner, k)), values]),
    )


CLASSIFIERS = {"catboost.CatBoostClassifier": classes}
REGRESSORS = {"catboost.CatBoostRegressor": values}
