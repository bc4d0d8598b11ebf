"""The types a skops file may hold beyond those skops itself trusts: our list, never the file's.

A type is on it when rebuilding it from a file runs no code of the file's author: plain values of fitted estimators,
and boosters whose state is read by their own native parser. Compiled trees and searches are on it although a crafted
one can crash the process that uses it (their indices are not bounds-checked): such a model runs only in a process of
its own, whose crash harms nobody else. Functions and classes of the user's are not: they need a waiver, or source.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_LOSSES = (
    "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss HalfPoissonLoss "
    "HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss"
)
_KERNELS = (
    "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern PairwiseKernel Product RBF "
    "RationalQuadratic Sum WhiteKernel"
)
# PyFuncDistance is left out: it calls a function of the user's.
_DISTANCES = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan Minkowski "
    "RogersTanimoto RussellRao SEuclidean SokalSneath"
)
_SGD_LOSSES = "EpsilonInsensitive Hinge Huber Log ModifiedHuber SquaredEpsilonInsensitive SquaredHinge SquaredLoss"

TRUSTED: frozenset[str] = frozenset(
    [
        "builtins.slice",
        "catboost.core.CatBoost",
        "catboost.core.CatBoostClassifier",
        "catboost.core.CatBoostRanker",
        "catboost.core.CatBoostRegressor",
        "collections.OrderedDict",
        "collections.defaultdict",
        # Histogram boosting on category columns holds a partial of `check_array`; none of anything else is taken.
        "functools.partial",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRanker",
        "lightgbm.sklearn.LGBMRegressor",
        "numpy.dtype",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.interpolate._bsplines._BSpline",  # its name from SciPy 1.18 on
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer._RemainderColsList",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._ball_tree.BallTree32",
        "sklearn.neighbors._ball_tree.BallTree64",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neighbors._kd_tree.KDTree32",
        "sklearn.neighbors._kd_tree.KDTree64",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "sklearn.utils.validation.check_array",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "xgboost.sklearn.XGBRanker",
        "xgboost.sklearn.XGBRegressor",
        *(f"sklearn._loss.loss.{name}" for name in _LOSSES.split()),
        *(f"sklearn._loss._loss.Cy{name}" for name in _LOSSES.split()),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS.split()),
        *(
            f"sklearn.metrics._dist_metrics.{name}Distance{bits}"
            for name in _DISTANCES.split()
            for bits in ("", "32", "64")
        ),
        *(f"sklearn.linear_model._sgd_fast.{name}" for name in _SGD_LOSSES.split()),
    ]
)

_PARTIALS = frozenset(["sklearn.utils.validation.check_array"])


def refused_types(file: Path | BinaryIO) -> list[str]:
    """The types in a skops file that neither skops nor our list trusts; raises what skops raises on a damaged file."""
    from skops import io as skops_io

    refused = set(skops_io.get_untrusted_types(file=file)) - TRUSTED
    with zipfile.ZipFile(file) as archive:
        schema = json.loads(archive.read("schema.json"))
    # A partial of a type would make one with arguments of the file's choice at the first prediction. Found by its
    # loader: a node's own name for itself is the file's word.
    partials = {_name(node["content"]["func"]) for node in _nodes(schema) if node.get("__loader__") == "PartialNode"}
    return sorted(refused | {f"functools.partial({name})" for name in partials - _PARTIALS})


def _name(node: dict[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
