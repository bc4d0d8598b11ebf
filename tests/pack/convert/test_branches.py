"""Rows on every threshold, and one step to either side of it, take the branch that the library takes."""

import re

import numpy as np
import onnx
import pytest
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from onnx import numpy_helper
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from tests.pack.convert.proof import answers, check, convert
from xgboost import XGBRegressor

FEATURES = 5
_SCIKIT = {"n_estimators": 20, "max_depth": 6, "random_state": 0}
MODELS = {
    "random forest": (RandomForestRegressor(**_SCIKIT), "sklearn", 0.0),
    "random forest classifier": (RandomForestClassifier(**_SCIKIT), "sklearn", 1e-15),
    "extra trees": (ExtraTreesRegressor(**_SCIKIT), "sklearn", 0.0),
    "gradient boosting": (GradientBoostingRegressor(**_SCIKIT), "sklearn", 0.0),
    "histogram boosting": (HistGradientBoostingRegressor(max_iter=20), "sklearn", 0.0),
    "isolation forest": (IsolationForest(n_estimators=20, random_state=0), "sklearn", 0.0),
    "xgboost": (XGBRegressor(n_estimators=20, n_jobs=1), "xgboost", 2e-6),
    "lightgbm": (LGBMRegressor(n_estimators=20, n_jobs=1, verbose=-1), "lightgbm", 0.0),
    "catboost": (
        CatBoostRegressor(iterations=20, verbose=0, thread_count=1, allow_writing_files=False),
        "catboost",
        1e-14,
    ),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, FEATURES))
    return x, x[:, 0] + x[:, 1] * x[:, 2] + 0.1 * rng.standard_normal(500)


def _edges(model_bytes, x):
    """Rows of x in which one feature stands on, just below or just above a threshold, in float64 and in float32."""
    graph = onnx.load_model_from_string(model_bytes).graph
    node = next(node for node in graph.node if re.match("TreeEnsemble", node.op_type))
    attributes = {attribute.name: attribute for attribute in node.attribute}
    features = np.array(attributes["nodes_featureids"].ints)
    splits = numpy_helper.to_array(attributes["nodes_splits"].t)
    rng = np.random.default_rng(1)
    chosen = rng.permutation(len(splits))[:400]
    single = splits[chosen].astype(np.float32)
    values = [
        *(splits[chosen], np.nextafter(splits[chosen], np.inf), np.nextafter(splits[chosen], -np.inf)),
        *(single, np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))),
    ]
    rows = []
    for value in values:
        block = x[rng.integers(0, len(x), len(chosen))].copy()
        block[np.arange(len(chosen)), features[chosen]] = value
        rows.append(block)
    return np.concatenate(rows)


@pytest.mark.parametrize("name", MODELS)
def test_rows_on_thresholds(name, data):
    estimator, kind, within = MODELS[name]
    x, y = data
    estimator.fit(x, y > 0 if name.endswith("classifier") else y)
    edges = _edges(convert(estimator, x, kind), x)
    check(estimator, x, edges, kind=kind, within=within)


@pytest.mark.parametrize("name", MODELS)
def test_rows_on_thresholds_in_float32(name, data):
    estimator, kind, within = MODELS[name]
    x, y = data[0].astype(np.float32), data[1]
    estimator.fit(x, y > 0 if name.endswith("classifier") else y)
    edges = _edges(convert(estimator, x, kind), x).astype(np.float32)
    check(estimator, x, edges, kind=kind, within=within)


def test_the_edges_do_tell_branches_apart(data):
    # Were thresholds rounded carelessly, the rows above would show it: a double forest fed float32 does differ.
    x, y = data
    forest = RandomForestRegressor(n_estimators=20, random_state=0).fit(x, y)
    model = convert(forest, x)
    edges = _edges(model, x)
    assert not np.array_equal(
        answers(model, edges)["predictions"], answers(model, np.nextafter(edges, np.inf))["predictions"]
    )
