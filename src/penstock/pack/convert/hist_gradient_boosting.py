"""scikit-learn's HistGradientBoosting, which skl2onnx cannot convert since scikit-learn 1.9.

Its trees compare doubles with double thresholds, `<=` goes left. A split on categories sends the codes of its bitset
left, the other known codes right, and NaN, negative and unknown codes as missing values. Categories become codes in
an inner ColumnTransformer, which puts them before the numeric columns.
Source: sklearn/ensemble/_hist_gradient_boosting/{_predictor.pyx,gradient_boosting.py} of scikit-learn 1.9.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.category_splits import CategorySplits
from penstock.pack.convert.context import Context
from penstock.pack.convert.decide import logistic, softmax
from penstock.pack.convert.encoders import code_of
from penstock.pack.convert.forest import Forest, Tree, add_forest, start_from
from penstock.pack.convert.values import Classified, Frame, Value

_LOG_LINK = {"poisson", "gamma"}
_NO_LINK = {"squared_error", "absolute_error", "quantile"}


def classes(context: Context, estimator: Any, x: Frame) -> Classified:
    """HistGradientBoostingClassifier: logistic or softmax of the summed trees."""
    if estimator.loss != "log_loss":
        raise CannotConvert(f"HistGradientBoostingClassifier has an unknown loss {estimator.loss!r}")
    raw = _raw(context, estimator, x)
    return logistic(context, raw) if raw.width == 1 else softmax(context, raw)


def values(context: Context, estimator: Any, x: Frame) -> Value:
    """HistGradientBoostingRegressor: the summed trees, or their exponential where the loss has a logarithmic link."""
    raw = context.flat(_raw(context, estimator, x))
    if estimator.loss in _LOG_LINK:
        return context.apply("Exp", raw)
    if estimator.loss in _NO_LINK:
        return raw
    raise CannotConvert(f"HistGradientBoostingRegressor has a loss of its own: {estimator.loss!r}")


def _raw(context: Context, estimator: Any, x: Frame) -> Value:
    splits = CategorySplits()
    numeric, columns = _columns(context, estimator, x)
    sizes = {feature: len(known) for feature, (_, known) in columns.items()}
    grown = [
        (_tree(predictor, target), _sets(predictor, sizes, splits))
        for iteration in estimator._predictors
        for target, predictor in enumerate(iteration)
    ]
    codes = {feature: (code_of(context, column, known), len(known)) for feature, (column, known) in columns.items()}
    values = splits.look_up(context, codes)
    if numeric:
        values.insert(0, context.matrix(context.select(x, list(numeric.values())), "float64"))
    targets = int(estimator.n_trees_per_iteration_)
    forest = Forest(start_from(splits.place(grown, numeric), estimator._baseline_prediction.ravel()), targets=targets)
    return add_forest(context.graph, forest, context.join(values))


def _columns(context: Context, estimator: Any, x: Frame) -> tuple[dict[int, int], dict[int, tuple[Value, Any]]]:
    """By feature of the trees: where the numeric ones are in x; column and known categories of the others."""
    flags = estimator.is_categorical_
    if flags is None:
        return {position: position for position in range(x.width)}, {}
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    # The estimator's own ColumnTransformer puts features of categories first, in their order.
    sources = [*np.flatnonzero(flags).tolist(), *np.flatnonzero(~flags).tolist()]
    count = len(encoder.categories_)
    columns = context.columns(context.select(x, sources[:count]))
    # NaN, when training met it, is the last category and has no code.
    known = [found[: len(found) - _ends_in_nan(found)] for found in encoder.categories_]
    numeric = {feature: sources[feature] for feature in range(count, len(sources))}
    return numeric, dict(enumerate(zip(columns, known, strict=True)))


def _ends_in_nan(categories: Any) -> int:
    # NaN is the one value that is not equal to itself, whatever the array's dtype.
    return int(len(categories) > 0 and categories[-1] != categories[-1])


def _sets(predictor: Any, sizes: dict[int, int], splits: CategorySplits) -> dict[int, tuple[int, int]]:
    """By node that splits on categories: the feature and the column that `splits` gave to its set."""
    nodes = predictor.nodes
    found = {}
    for at in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~nodes["is_leaf"].astype(bool)).tolist():
        words = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][at]]
        # Eight words of 32 bits, lowest bit first: bit c says that code c goes left.
        bits = np.unpackbits(np.ascontiguousarray(words, "<u4").view(np.uint8), bitorder="little").astype(bool)
        feature = int(nodes["feature_idx"][at])
        right_if_missing = not nodes["missing_go_to_left"][at]
        found[at] = splits.add(feature, ~bits[: sizes[feature]], otherwise=right_if_missing)
    return found


def _tree(predictor: Any, target: int) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    return Tree(
        feature=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64),
        threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        missing_left=nodes["missing_go_to_left"].astype(bool) & ~is_leaf,
        values=nodes["value"][:, None].astype(np.float64),
        target=target,
    )


CLASSIFIERS = {"sklearn.HistGradientBoostingClassifier": classes}
REGRESSORS = {"sklearn.HistGradientBoostingRegressor": values}
