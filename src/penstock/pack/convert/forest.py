"""Trees of any library as one value, and that value as an ONNX tree ensemble in double precision.

Sources: ONNX operators `TreeEnsemble` (ai.onnx.ml 5), `TreeEnsembleRegressor` and `TreeEnsembleClassifier`
(ai.onnx.ml 3). ONNX Runtime adds up leaves in the order of the trees, in double when thresholds are double, which is
what the libraries do; so sums are equal to the last bit, and ties between classes stay ties.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.pack.convert.graph import Graph, NeedsVersion4
from penstock.pack.convert.values import Value

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
_SUM, _AVERAGE = 1, 0


class Tree(msgspec.Struct, frozen=True):
    """One tree: node i sends `x[feature[i]] <= threshold[i]` to left[i], else to right[i]; left[i] < 0 is a leaf.

    Node 0 is the root. `missing_left` says where NaN goes. `values` is [nodes, k]; with k = 1 it adds to `target`.
    """

    feature: Ints
    threshold: Doubles
    left: Ints
    right: Ints
    missing_left: npt.NDArray[np.bool_]
    values: Doubles
    target: int = 0


class Forest(msgspec.Struct, frozen=True):
    """Trees whose leaves add up, or average, to `targets` values a row."""

    trees: tuple[Tree, ...]
    targets: int = 1
    average: bool = False


def start_from(trees: Iterable[Tree], base: npt.ArrayLike) -> tuple[Tree, ...]:
    """Put each target's starting value into its first tree.

    Boosting libraries start from it and then add tree by tree; adding it at the end would round differently.
    """
    waiting = np.array(base, np.float64, ndmin=1)
    started = []
    for tree in trees:
        span = slice(tree.target, tree.target + tree.values.shape[1])
        started.append(msgspec.structs.replace(tree, values=tree.values + waiting[span]))
        waiting[span] = 0.0
    return tuple(started)


def add_forest(graph: Graph, forest: Forest, x: Value) -> Value:
    """Add the trees over `x`, a float64 matrix; the result is [rows, targets]."""
    if graph.ml_version >= 5:
        if any(tree.values.shape[1] > 1 for tree in forest.trees):
            raise NeedsVersion4
        out = graph.op("TreeEnsemble", x.name, **_flat(forest))
        return Value(out, "float64", forest.targets)
    rule = "AVERAGE" if forest.average else "SUM"
    attributes = _nested(forest, "target") | {"n_targets": forest.targets, "aggregate_function": rule}
    out = graph.op("TreeEnsembleRegressor", x.name, **attributes)
    return Value(graph.op("Cast", out, to=11), "float64", forest.targets)


def add_vote(graph: Graph, forest: Forest, x: Value) -> tuple[Value, Value]:
    """Add trees whose leaves hold one value per class: the index of the largest sum, and the sums.

    The index is decided in double, before the sums leave in float32.
    """
    if graph.ml_version >= 5:
        raise NeedsVersion4
    attributes = _nested(forest, "class") | {"classlabels_int64s": list(range(forest.targets))}
    index, sums = graph.ops("TreeEnsembleClassifier", x.name, count=2, **attributes)
    return Value(index, "int64", 0), Value(graph.op("Cast", sums, to=11), "float64", forest.targets)


def _flat(forest: Forest) -> dict[str, Any]:
    """Attributes of `TreeEnsemble` 5: inner nodes and leaves in two lists, numbered over all trees."""
    parts: dict[str, list[Any]] = {
        name: [] for name in ("feature", "split", "true", "true_leaf", "false", "false_leaf")
    }
    missing, weights, targets, roots = [], [], [], []
    nodes_before = leaves_before = 0
    for tree in forest.trees:
        tree = _with_split(tree)
        is_leaf = tree.left < 0
        number = np.where(is_leaf, leaves_before + np.cumsum(is_leaf) - 1, nodes_before + np.cumsum(~is_leaf) - 1)
        inner = ~is_leaf
        left, right = tree.left[inner], tree.right[inner]
        parts["feature"].append(tree.feature[inner])
        parts["split"].append(tree.threshold[inner])
        parts["true"].append(number[left])
        parts["true_leaf"].append(is_leaf[left])
        parts["false"].append(number[right])
        parts["false_leaf"].append(is_leaf[right])
        missing.append(tree.missing_left[inner])
        weights.append(tree.values[is_leaf, 0])
        targets.append(np.full(int(is_leaf.sum()), tree.target))
        roots.append(nodes_before)
        nodes_before += int(inner.sum())
        leaves_before += int(is_leaf.sum())
    splits = np.concatenate(parts["split"])
    attributes: dict[str, Any] = {
        "nodes_featureids": _ints(parts["feature"]),
        "nodes_splits": splits,
        "nodes_modes": np.zeros(len(splits), np.uint8),
        "nodes_truenodeids": _ints(parts["true"]),
        "nodes_trueleafs": _ints(parts["true_leaf"]),
        "nodes_falsenodeids": _ints(parts["false"]),
        "nodes_falseleafs": _ints(parts["false_leaf"]),
        "leaf_targetids": _ints(targets),
        "leaf_weights": np.concatenate(weights),
        "tree_roots": roots,
        "n_targets": forest.targets,
        "aggregate_function": _AVERAGE if forest.average else _SUM,
        "post_transform": 0,
    }
    if any(flags.any() for flags in missing):
        attributes["nodes_missing_value_tracks_true"] = _ints(missing)
    return attributes


def _nested(forest: Forest, kind: str) -> dict[str, Any]:
    """Attributes of `TreeEnsembleRegressor` and `TreeEnsembleClassifier` 3: one list, numbered within each tree."""
    owner = np.concatenate([np.full(len(tree.left), index) for index, tree in enumerate(forest.trees)])
    number = [np.arange(len(tree.left)) for tree in forest.trees]
    left = np.concatenate([tree.left for tree in forest.trees])
    right = np.concatenate([tree.right for tree in forest.trees])
    is_leaf = left < 0
    values = np.concatenate([tree.values for tree in forest.trees])
    width = values.shape[1]
    first = np.concatenate([np.full(len(tree.left), tree.target) for tree in forest.trees])[is_leaf]
    attributes: dict[str, Any] = {
        "nodes_treeids": _ints([owner]),
        "nodes_nodeids": _ints(number),
        "nodes_featureids": _ints([tree.feature for tree in forest.trees], 0),
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in is_leaf.tolist()],
        "nodes_values_as_tensor": np.where(is_leaf, 0, np.concatenate([tree.threshold for tree in forest.trees])),
        "nodes_truenodeids": _ints([left], 0),
        "nodes_falsenodeids": _ints([right], 0),
        f"{kind}_treeids": _ints([np.repeat(owner[is_leaf], width)]),
        f"{kind}_nodeids": _ints([np.repeat(np.concatenate(number)[is_leaf], width)]),
        f"{kind}_ids": _ints([(first[:, None] + np.arange(width)).ravel()]),
        f"{kind}_weights_as_tensor": values[is_leaf].ravel(),
    }
    missing = np.concatenate([tree.missing_left for tree in forest.trees]) & ~is_leaf
    if missing.any():
        attributes["nodes_missing_value_tracks_true"] = _ints([missing])
    return attributes


def _with_split(tree: Tree) -> Tree:
    """`TreeEnsemble` 5 cannot have a leaf as root: split a lone leaf in two equal ones."""
    if tree.left[0] >= 0:
        return tree
    return Tree(
        np.zeros(3, np.int64),
        np.zeros(3),
        np.array([1, -1, -1]),
        np.array([2, -1, -1]),
        np.zeros(3, bool),
        np.repeat(tree.values[:1], 3, axis=0),
        tree.target,
    )


def _ints(arrays: list[Any], least: int | None = None) -> list[int]:
    joined = np.concatenate(arrays).astype(np.int64)
    return list(map(int, joined if least is None else np.maximum(joined, least)))
