"""XGBoost, LightGBM and CatBoost: wrappers, plain boosters, pipelines, and what is refused."""

import catboost
import lightgbm
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import make_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.pack.convert.proof import answers, check, convert, signature_of

from penstock.pack.convert import CannotConvert, candidates

pytestmark = pytest.mark.filterwarnings("ignore")
QUIET = {"verbose": -1, "n_jobs": 1, "n_estimators": 20}
CAT = {"verbose": 0, "thread_count": 1, "iterations": 20, "allow_writing_files": False}
XGB = {"n_jobs": 1, "n_estimators": 20}
SINGLE = 5e-6


@pytest.fixture(scope="module")
def data():
    x, y2 = make_classification(500, 6, n_informative=4, random_state=0)
    _, y3 = make_classification(500, 6, n_informative=4, n_classes=3, random_state=0)
    x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    value = np.round(np.abs(np.nan_to_num(x[:, 0]) * 2 + np.nan_to_num(x[:, 1])))
    return {
        "x": x,
        "two": y2,
        "three": y3,
        "value": value,
        "positive": value + 0.5,
        "pair": np.column_stack([value, y2]),
    }


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: xgboost.XGBClassifier(**XGB), "two"),
        (lambda: xgboost.XGBClassifier(**XGB), "three"),
        (lambda: xgboost.XGBRFClassifier(**XGB), "two"),
        (lambda: xgboost.XGBRegressor(**XGB), "value"),
        (lambda: xgboost.XGBRegressor(booster="dart", rate_drop=0.3, **XGB), "value"),
        (lambda: xgboost.XGBRegressor(objective="count:poisson", **XGB), "value"),
        (lambda: xgboost.XGBRegressor(objective="reg:gamma", **XGB), "positive"),
        (lambda: xgboost.XGBRegressor(objective="reg:logistic", **XGB), "two"),
        (lambda: xgboost.XGBRegressor(objective="reg:absoluteerror", base_score=3.0, **XGB), "value"),
        (lambda: xgboost.XGBRegressor(**XGB), "pair"),
        (lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(**XGB)), "two"),
    ],
)
def test_xgboost(data, make, target):
    check(make().fit(data["x"], data[target]), data["x"], data["x"] * 2, kind="xgboost", within=SINGLE)


def test_xgboost_stops_at_the_best_iteration(data):
    x, y = data["x"], data["two"]
    estimator = xgboost.XGBClassifier(n_estimators=100, early_stopping_rounds=2, n_jobs=1)
    estimator.fit(x[:300], y[:300], eval_set=[(x[300:], y[300:])], verbose=False)
    assert estimator.best_iteration < 99
    check(estimator, x, kind="xgboost", within=SINGLE)


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: lightgbm.LGBMClassifier(**QUIET), "two"),
        (lambda: lightgbm.LGBMClassifier(**QUIET), "three"),
        (lambda: lightgbm.LGBMClassifier(objective="multiclassova", **QUIET), "three"),
        (lambda: lightgbm.LGBMRegressor(**QUIET), "value"),
        (lambda: lightgbm.LGBMRegressor(objective="poisson", **QUIET), "value"),
        (lambda: lightgbm.LGBMRegressor(boosting_type="rf", bagging_freq=1, bagging_fraction=0.6, **QUIET), "value"),
        (lambda: lightgbm.LGBMRegressor(use_missing=False, **QUIET), "value"),
        (lambda: make_pipeline(StandardScaler(), lightgbm.LGBMClassifier(**QUIET)), "two"),
    ],
)
def test_lightgbm(data, make, target):
    check(make().fit(data["x"], data[target]), data["x"], data["x"] * 2, kind="lightgbm")


def test_lightgbm_without_missing_values_in_training_takes_them_for_zero(data):
    full = np.nan_to_num(data["x"])
    check(lightgbm.LGBMRegressor(**QUIET).fit(full, data["value"]), full, data["x"], kind="lightgbm")


def test_lightgbm_categories_of_a_table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"k": rng.choice([f"c{i}" for i in range(30)], 500), "n": rng.standard_normal(500)})
    y = table["k"].map({f"c{i}": v for i, v in enumerate(rng.standard_normal(30))}) + table["n"]
    table["k"] = table["k"].astype("category")
    check(lightgbm.LGBMRegressor(**QUIET).fit(table, y), table, kind="lightgbm")


def test_lightgbm_categories_of_a_matrix():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 40, 500), rng.standard_normal(500)]).astype(float)
    estimator = lightgbm.LGBMRegressor(**QUIET).fit(x, x[:, 0] % 7 + x[:, 1], categorical_feature=[0])
    odd = x.copy()
    odd[:5, 0] = [77, -3, np.nan, 1.5, 1000]
    check(estimator, x, odd, kind="lightgbm")


@pytest.mark.parametrize(
    ("make", "target", "within"),
    [
        (lambda: catboost.CatBoostClassifier(**CAT), "two", 1e-12),
        (lambda: catboost.CatBoostClassifier(**CAT), "three", SINGLE),
        (lambda: catboost.CatBoostClassifier(loss_function="MultiClass", **CAT), "two", 1e-12),
        (lambda: catboost.CatBoostRegressor(**CAT), "value", 1e-12),
        (lambda: catboost.CatBoostRegressor(nan_mode="Max", **CAT), "value", 1e-12),
        (lambda: catboost.CatBoostRegressor(loss_function="Poisson", **CAT), "value", 1e-12),
        (lambda: catboost.CatBoostRegressor(loss_function="MultiRMSE", **CAT), "pair", SINGLE),
    ],
)
def test_catboost(data, make, target, within):
    check(make().fit(data["x"], data[target]), data["x"], data["x"] * 2, kind="catboost", within=within)


def test_plain_boosters_answer_scores(data):
    x, y = data["x"], data["two"]
    single = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 10)
    assert (
        np.abs(answers(convert(single, x, "xgboost"), x)["predictions"] - single.predict(xgboost.DMatrix(x))).max()
        < 1e-6
    )
    double = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 10)
    assert np.abs(answers(convert(double, x, "lightgbm"), x)["predictions"] - double.predict(x)).max() < 1e-12


def test_a_plain_booster_with_classes_answers_them(data):
    x, y = data["x"], data["two"]
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(x, y), 10)
    found = answers(candidates(booster, "xgboost", signature_of(x, np.array(["no", "yes"])))[0].model, x)
    scores = booster.predict(xgboost.DMatrix(x))
    assert np.array_equal(found["predictions"], np.where(scores > 0.5, "yes", "no"))
    assert np.abs(found["probabilities"][:, 1] - scores).max() < 1e-6


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: xgboost.XGBRegressor(missing=0.0, **XGB), "missing value"),
        (lambda: xgboost.XGBRegressor(booster="gblinear", **XGB), "no trees"),
        (lambda: xgboost.XGBRegressor(objective="survival:cox", **XGB), "survival:cox"),
        (lambda: lightgbm.LGBMRegressor(zero_as_missing=True, **QUIET), "zeros for missing"),
        (lambda: lightgbm.LGBMRegressor(linear_tree=True, **QUIET), "linear leaves"),
        (lambda: lightgbm.LGBMRegressor(reg_sqrt=True, **QUIET), "sqrt"),
        (lambda: catboost.CatBoostRegressor(grow_policy="Depthwise", **CAT), "not symmetric"),
    ],
)
def test_what_is_refused(data, make, reason):
    x = np.nan_to_num(data["x"])
    estimator = make().fit(x, data["positive"])
    kind = type(estimator).__module__.split(".")[0]
    with pytest.raises(CannotConvert, match=reason):
        candidates(estimator, kind, signature_of(x))


def test_catboost_that_decides_at_another_probability_is_refused(data):
    estimator = catboost.CatBoostClassifier(**CAT).fit(data["x"], data["two"])
    estimator.set_probability_threshold(0.3)
    with pytest.raises(CannotConvert, match="another probability"):
        candidates(estimator, "catboost", signature_of(data["x"], estimator.classes_))


def test_lightgbm_takes_a_table_by_position(data):
    table = pd.DataFrame(np.nan_to_num(data["x"]), columns=["a b", "c d", "e", "f", "g", "h"])
    check(lightgbm.LGBMRegressor(**QUIET).fit(table, data["value"]), table, kind="lightgbm")


def _categories(rng, size):
    names = [f"c {i}" for i in range(size)]
    table = pd.DataFrame(
        {"n": rng.standard_normal(500), "k": rng.choice(names, 500), "j": rng.choice(list("xyz"), 500)}
    )
    y = table["k"].map(dict(zip(names, rng.standard_normal(size), strict=True))) + table["n"] + (table["j"] == "y")
    return table, y


@pytest.mark.parametrize("size", [3, 40])
def test_xgboost_categories_of_a_table(size):
    table, y = _categories(np.random.default_rng(0), size)
    table["k"] = table["k"].mask(np.arange(500) % 9 == 0)
    table = table.astype({"k": "category", "j": "category"})
    estimator = xgboost.XGBRegressor(enable_categorical=True, max_cat_to_onehot=4, **XGB).fit(table, y)
    model = check(estimator, table, kind="xgboost", within=SINGLE)
    unseen = table.assign(k="Atlantis")
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        answers(model, unseen)


def test_xgboost_categories_that_are_not_ascii_are_refused():
    table, y = _categories(np.random.default_rng(0), 3)
    table = table.replace({"j": {"x": "ça"}}).astype({"k": "category", "j": "category"})
    estimator = xgboost.XGBRegressor(enable_categorical=True, **XGB).fit(table, y)
    with pytest.raises(CannotConvert, match="ASCII"):
        candidates(estimator, "xgboost", signature_of(table))


def test_xgboost_categories_that_are_numbers_are_refused():
    x = np.column_stack([np.arange(300) % 9, np.linspace(0, 1, 300)])
    types = ["c", "float"]
    data = xgboost.DMatrix(x, np.sin(x[:, 0] * 7), feature_types=types, enable_categorical=True)
    booster = xgboost.train({"nthread": 1}, data, 5)
    with pytest.raises(CannotConvert, match="categories that are numbers"):
        candidates(booster, "xgboost", signature_of(x))


def test_categories_of_catboost_are_refused():
    table, y = _categories(np.random.default_rng(0), 4)
    estimator = catboost.CatBoostRegressor(cat_features=["k", "j"], **CAT).fit(table, y)
    with pytest.raises(CannotConvert, match="categories"):
        candidates(estimator, "catboost", signature_of(table))
