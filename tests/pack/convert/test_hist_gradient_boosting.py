"""HistGradientBoosting: every loss, missing values and categories, to the last bit where nothing bends the sum."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from tests.pack.convert.proof import check

ROWS = 500


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 6))
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, np.abs(np.nan_to_num(x[:, 0]) * 2 + np.nan_to_num(x[:, 1])) + 0.1


@pytest.mark.parametrize(
    ("loss", "options", "within"),
    [
        ("squared_error", {}, 0.0),
        ("absolute_error", {}, 0.0),
        ("quantile", {"quantile": 0.3}, 0.0),
        ("poisson", {}, 1e-14),
        ("gamma", {}, 1e-14),
    ],
)
def test_regression_losses_with_missing_values(data, loss, options, within):
    x, y = data
    check(HistGradientBoostingRegressor(loss=loss, max_iter=30, **options).fit(x, y), x, x * 3, within=within)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_with_missing_values(data, classes):
    x, y = data
    labels = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    check(HistGradientBoostingClassifier(max_iter=30).fit(x, labels), x, x * 3, within=1e-15)


def test_early_stopping_counts_only_the_trees_that_are_kept(data):
    x, y = data
    estimator = HistGradientBoostingRegressor(max_iter=50, early_stopping=True, n_iter_no_change=3, random_state=0)
    check(estimator.fit(x, y), x, within=0.0)


def test_few_leaves_and_a_tree_without_a_split():
    x = np.zeros((30, 2))
    check(HistGradientBoostingRegressor(max_iter=3).fit(x, np.arange(30.0)), x, np.ones((3, 2)), within=0.0)


def _table(rng, sizes):
    table = pd.DataFrame({f"k{size}": rng.integers(0, size, ROWS).astype(str) for size in sizes})
    effect = sum(table[name].astype(int).map(dict(enumerate(rng.standard_normal(300)))) for name in table)
    table["n"] = rng.standard_normal(ROWS)
    return table, effect + table["n"]


@pytest.mark.parametrize("sizes", [(2,), (3, 30), (200,)])
def test_categories_of_a_table_with_missing_and_unseen_ones(sizes):
    table, y = _table(np.random.default_rng(1), sizes)
    for name in table.columns[:-1]:
        table[name] = table[name].mask(np.arange(ROWS) % 11 == 0).astype("category")
    estimator = HistGradientBoostingRegressor(max_iter=30, categorical_features="from_dtype")
    estimator.fit(table[: ROWS // 2], y[: ROWS // 2])
    check(estimator, table, within=0.0)


def test_categories_of_a_matrix():
    rng = np.random.default_rng(2)
    x = np.column_stack([rng.integers(0, 30, ROWS), rng.standard_normal(ROWS), rng.integers(5, 9, ROWS)]).astype(float)
    estimator = HistGradientBoostingRegressor(max_iter=30, categorical_features=[0, 2])
    estimator.fit(x, x[:, 0] % 7 + x[:, 1] + (x[:, 2] == 7))
    odd = x.copy()
    odd[:5, 0], odd[5:9, 2] = [77, -3, np.nan, 1.5, 300], [np.nan, 4, -0.0, 6.5]
    check(estimator, x, odd, within=0.0)


def test_only_categories():
    table, y = _table(np.random.default_rng(3), (12,))
    table = table[["k12"]].astype("category")
    check(
        HistGradientBoostingRegressor(max_iter=10, categorical_features="from_dtype").fit(table, y), table, within=0.0
    )


def test_as_the_last_step(data):
    x, y = data
    labels = (y > np.median(y)).astype(int)
    check(make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=20)).fit(x, labels), x)
    table, value = _table(np.random.default_rng(4), (8,))
    columns = ColumnTransformer([("k", OrdinalEncoder(), ["k8"])], remainder="passthrough")
    hist = HistGradientBoostingRegressor(max_iter=20, categorical_features=[0])
    check(make_pipeline(columns, hist).fit(table, value), table, within=0.0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 255), st.integers(1, 12), st.floats(0.0, 0.4))
def test_any_forest_of_categories_and_numbers(seed, size, depth, holes):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.integers(0, size, 300), rng.standard_normal(300)]).astype(float)
    x[rng.random(x.shape) < holes] = np.nan
    y = np.sin(np.nan_to_num(x[:, 0]) * 7) + np.nan_to_num(x[:, 1])
    estimator = HistGradientBoostingRegressor(max_iter=5, max_depth=depth, min_samples_leaf=3, categorical_features=[0])
    check(estimator.fit(x[:150], y[:150]), x, within=0.0)
