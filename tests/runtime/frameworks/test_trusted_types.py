"""What people train with scikit-learn and its friends is opened from skops without asking; it answers the same."""

import functools
import json
import zipfile

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeCV, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, QuantileTransformer, SplineTransformer
from sklearn.svm import SVC, SVR
from skops import io as skops_io

from penstock.core.errors import Refused
from penstock.runtime.frameworks.sklearn import open_estimator

random = np.random.default_rng(11)
X = random.uniform(size=(60, 3))
Y = np.digitize(X[:, 0], [0.3, 0.6])
PAIR = [("a", LogisticRegression()), ("b", GaussianNB())]

ESTIMATORS = [
    AdaBoostClassifier(n_estimators=3),
    BaggingClassifier(n_estimators=3),
    CalibratedClassifierCV(GaussianNB(), cv=2),
    CalibratedClassifierCV(GaussianNB(), cv=2, method="isotonic"),
    ExtraTreesClassifier(3),
    GaussianProcessClassifier(max_iter_predict=5),
    GradientBoostingClassifier(n_estimators=2),
    GradientBoostingRegressor(n_estimators=2, loss="huber"),
    HistGradientBoostingClassifier(max_iter=2),
    HistGradientBoostingRegressor(max_iter=2, loss="poisson"),
    HistGradientBoostingRegressor(max_iter=2, loss="quantile", quantile=0.5),
    IsolationForest(n_estimators=3),
    KNeighborsClassifier(),
    KNeighborsClassifier(algorithm="ball_tree", metric="manhattan"),
    MLPClassifier(max_iter=2),
    RandomForestClassifier(3),
    RidgeCV(),
    SGDClassifier(),
    SGDClassifier(loss="modified_huber"),
    SVC(),
    SVR(),
    StackingClassifier(PAIR, cv=2),
    TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1),
    VotingClassifier(PAIR),
    make_pipeline(
        FunctionTransformer(np.log1p), QuantileTransformer(n_quantiles=9), PolynomialFeatures(), LinearRegression()
    ),
    make_pipeline(SplineTransformer(), LinearRegression()),
    make_pipeline(FunctionTransformer(), xgboost.XGBClassifier(n_estimators=2)),
    make_pipeline(FunctionTransformer(), lightgbm.LGBMClassifier(n_estimators=2, verbose=-1)),
    make_pipeline(
        FunctionTransformer(), catboost.CatBoostClassifier(iterations=2, verbose=0, allow_writing_files=False)
    ),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # two steps of training are enough here
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # LightGBM names the columns of an array
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_it_is_opened_and_answers_the_same(tmp_path, estimator):
    path = tmp_path / "model.skops"
    estimator.fit(X, Y)
    skops_io.dump(estimator, path)
    np.testing.assert_array_equal(open_estimator(path, "skops").predict(X), estimator.predict(X))


def test_histogram_boosting_on_category_columns_is_opened(tmp_path):
    path = tmp_path / "model.skops"
    frame = pd.DataFrame({"n": X[:, 0], "c": pd.Categorical(np.where(X[:, 1] > 0.5, "a", "b"))})
    estimator = HistGradientBoostingClassifier(max_iter=2, categorical_features="from_dtype").fit(frame, Y)
    skops_io.dump(estimator, path)
    np.testing.assert_array_equal(open_estimator(path, "skops").predict(frame), estimator.predict(frame))


def test_a_partial_that_calls_itself_something_else_is_still_one(tmp_path):
    path = tmp_path / "model.skops"
    skops_io.dump(FunctionTransformer(functools.partial(catboost.CatBoostClassifier, train_dir="elsewhere")), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members["schema.json"])
    node = schema["content"]["content"]["func"]
    assert node["__loader__"] == "PartialNode"
    node["__module__"], node["__class__"] = "collections", "OrderedDict"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**members, "schema.json": json.dumps(schema).encode()}.items():
            archive.writestr(name, data)
    with pytest.raises(Refused, match=r"functools\.partial\(catboost.*untrusted-type"):
        open_estimator(path, "skops")
