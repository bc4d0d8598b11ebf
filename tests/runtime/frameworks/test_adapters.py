"""Every adapter answers exactly what its library answers, from memory and from the file alike."""

import functools
import operator
import os
import subprocess

import catboost
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from skops import io as skops_io

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, ModelFailed, Refused, Unsupported
from penstock.core.signature import Field, Signature
from penstock.runtime.frameworks import catboost as catboost_adapter
from penstock.runtime.frameworks import lightgbm as lightgbm_adapter
from penstock.runtime.frameworks import python as python_adapter
from penstock.runtime.frameworks import sklearn as sklearn_adapter
from penstock.runtime.frameworks import xgboost as xgboost_adapter
from penstock.runtime.frameworks.trusted_types import TRUSTED

ROWS = 120
random = np.random.default_rng(7)
X = random.normal(size=(ROWS, 4)).astype(np.float32)
BINARY = (X[:, 0] + X[:, 1] > 0).astype(np.int64)
THREE = np.digitize(X[:, 0], [-0.5, 0.5]).astype(np.int64)
VALUES = (X @ np.array([1.0, -2.0, 0.5, 3.0], np.float32)).astype(np.float64)
WORDS = np.array(["low", "middle", "high"], object)[THREE]
TABLE = pd.DataFrame({"age": X[:, 0].astype(np.float64), "city": np.array(["Rome", "Oslo", None], object)[THREE]})


def matrix(classes=None, predictions="INT64", probabilities="FP64", rank=(-1,)):
    outputs = [Field(name="predictions", datatype=predictions, shape=rank)]
    if classes:
        outputs.append(Field(name="probabilities", datatype=probabilities, shape=(-1, len(classes))))
    inputs = (Field(name="x", datatype="FP32", shape=(-1, 4)),)
    return Signature(inputs=inputs, outputs=tuple(outputs), layout="matrix", classes=classes)


def table(classes=None, predictions="INT64"):
    outputs = [Field(name="predictions", datatype=predictions, shape=(-1,))]
    if classes:
        outputs.append(Field(name="probabilities", datatype="FP64", shape=(-1, len(classes))))
    inputs = (
        Field(name="age", datatype="FP64", shape=(-1,)),
        Field(name="city", datatype="BYTES", shape=(-1,), nullable=True, categories=("Oslo", "Rome")),
    )
    return Signature(inputs=inputs, outputs=tuple(outputs), layout="table", classes=classes)


def artifact(runtime, serialization="native", entry="", **options):
    return Artifact(path="model", runtime=runtime, serialization=serialization, entry=entry, options=options)


def tensors(frame=TABLE):
    city = np.array([None if pd.isna(value) else value for value in frame["city"]], object)
    return {"age": frame["age"].to_numpy(), "city": city}


def test_sklearn_classifier_from_memory_and_from_skops(tmp_path):
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, WORDS)
    signature = matrix(("high", "low", "middle"), "BYTES")
    path = tmp_path / "model.skops"
    skops_io.dump(estimator, path)
    loaded = sklearn_adapter.load(path, artifact("sklearn", "skops"), signature)
    for model in (loaded, sklearn_adapter.SklearnModel(estimator, {}, signature)):
        got = model.run({"x": X})
        assert got["predictions"].tolist() == estimator.predict(X).tolist()
        assert type(got["predictions"][0]) is str
        np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(X))


def test_columns_follow_the_order_of_the_signatures_classes():
    estimator = LogisticRegression().fit(X, WORDS)
    model = sklearn_adapter.SklearnModel(estimator, {}, matrix(("low", "middle", "high"), "BYTES"))
    np.testing.assert_array_equal(model.run({"x": X})["probabilities"], estimator.predict_proba(X)[:, [1, 2, 0]])


def test_other_classes_than_the_signatures_are_refused():
    with pytest.raises(ModelFailed, match="wrong-classes"):
        sklearn_adapter.SklearnModel(LogisticRegression().fit(X, WORDS), {}, matrix(("low", "high"), "BYTES"))


def test_derived_predictions_equal_predict():
    estimator = RandomForestClassifier(5, random_state=0).fit(X, THREE)
    derived = sklearn_adapter.SklearnModel(estimator, {"derive_predictions": True}, matrix((0, 1, 2)))
    assert derived.run({"x": X})["predictions"].tolist() == estimator.predict(X).tolist()


def test_regression_with_several_outputs_keeps_its_rank():
    targets = np.stack((VALUES, -VALUES), axis=1)
    estimator = LinearRegression().fit(X, targets)
    got = sklearn_adapter.SklearnModel(estimator, {}, matrix(None, "FP64", rank=(-1, 2))).run({"x": X})
    np.testing.assert_array_equal(got["predictions"], estimator.predict(X))


def test_pipeline_on_a_table_with_missing_text(tmp_path):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    estimator = make_pipeline(
        ColumnTransformer([("n", numbers, ["age"]), ("w", words, ["city"])]), LogisticRegression()
    )
    estimator.fit(TABLE, BINARY)
    path = tmp_path / "model.skops"
    skops_io.dump(estimator, path)
    model = sklearn_adapter.load(path, artifact("sklearn", "skops"), table((0, 1)))
    got = model.run(tensors())
    np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(TABLE))
    assert got["predictions"].tolist() == estimator.predict(TABLE).tolist()


def test_the_callers_arrays_are_left_alone():
    inputs = tensors()
    before = inputs["city"].tolist()
    estimator = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(TABLE, BINARY)
    sklearn_adapter.SklearnModel(estimator, {}, table((0, 1))).run(inputs)
    assert inputs["city"].tolist() == before


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize(
    ("labels", "classes", "objective"),
    [(BINARY, (0, 1), None), (THREE, (0, 1, 2), None), (THREE, (0, 1, 2), "multi:softmax"), (VALUES, None, None)],
)
def test_xgboost_answers_as_its_wrapper(tmp_path, suffix, labels, classes, objective):
    kind = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    options = {"objective": objective} if objective else {}
    estimator = kind(n_estimators=6, max_depth=3, **options).fit(X, labels)
    signature = matrix(classes, "INT64" if classes else "FP32", "FP32")
    path = tmp_path / f"model.{suffix}"
    estimator.save_model(path)
    for model in (
        xgboost_adapter.load(path, artifact("xgboost"), signature),
        xgboost_adapter.XgboostModel(estimator, {}, signature),
    ):
        got = model.run({"x": X})
        np.testing.assert_array_equal(got["predictions"], estimator.predict(X))
        if classes:
            np.testing.assert_allclose(got["probabilities"], estimator.predict_proba(X), rtol=1e-6)


def test_xgboost_stops_where_early_stopping_did(tmp_path):
    estimator = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=2, learning_rate=0.9)
    estimator.fit(X[:60], VALUES[:60], eval_set=[(X[60:], VALUES[60:])], verbose=False)
    assert estimator.best_iteration < estimator.get_booster().num_boosted_rounds() - 1
    estimator.save_model(tmp_path / "model.json")
    model = xgboost_adapter.load(tmp_path / "model.json", artifact("xgboost"), matrix(None, "FP32"))
    np.testing.assert_array_equal(model.run({"x": X})["predictions"], estimator.predict(X))


# XGBoost 3.4 deprecates gblinear; files with such a booster are there all the same.
@pytest.mark.filterwarnings("ignore:.*gblinear:UserWarning", "ignore:.*gblinear:FutureWarning")
def test_xgboost_linear_boosters_and_missing_values(tmp_path):
    x = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.float32(-999), X)
    for name, options in {"linear": {"booster": "gblinear", "updater": "coord_descent"}, "trees": {}}.items():
        estimator = xgboost.XGBRegressor(n_estimators=4, missing=-999.0, **options).fit(x, VALUES)
        estimator.save_model(tmp_path / f"{name}.ubj")
        opened = xgboost_adapter.load(
            tmp_path / f"{name}.ubj", artifact("xgboost", missing=-999.0), matrix(None, "FP32")
        )
        np.testing.assert_array_equal(opened.run({"x": x})["predictions"], estimator.predict(x))


CATEGORY = {"columns": {"city": {"dtype": "category"}}}
CATEGORIES = TABLE.assign(city=pd.Categorical(TABLE["city"], categories=["Oslo", "Rome"]))


def test_xgboost_and_lightgbm_take_category_columns(tmp_path):
    by_xgboost = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True).fit(CATEGORIES, BINARY)
    by_xgboost.save_model(tmp_path / "model.ubj")
    model = xgboost_adapter.load(tmp_path / "model.ubj", artifact("xgboost", **CATEGORY), table((0, 1)))
    np.testing.assert_allclose(model.run(tensors())["probabilities"], by_xgboost.predict_proba(CATEGORIES), rtol=1e-6)
    by_lightgbm = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=2, verbose=-1).fit(CATEGORIES, BINARY)
    by_lightgbm.booster_.save_model(tmp_path / "model.txt")
    model = lightgbm_adapter.load(tmp_path / "model.txt", artifact("lightgbm", **CATEGORY), table((0, 1)))
    np.testing.assert_allclose(model.run(tensors())["probabilities"], by_lightgbm.predict_proba(CATEGORIES), rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes", "predictions"),
    [(BINARY, (0, 1), "INT64"), (WORDS, ("high", "low", "middle"), "BYTES"), (VALUES, None, "FP64")],
)
def test_lightgbm_answers_as_its_wrapper(tmp_path, labels, classes, predictions):
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    frame = pd.DataFrame(X, columns=list("abcd"))
    estimator = kind(n_estimators=6, min_child_samples=3, verbose=-1).fit(frame, labels)
    signature = matrix(classes, predictions)
    estimator.booster_.save_model(tmp_path / "model.txt")
    for model in (
        lightgbm_adapter.load(tmp_path / "model.txt", artifact("lightgbm"), signature),
        lightgbm_adapter.LightgbmModel(estimator, {}, signature),
    ):
        got = model.run({"x": X})
        assert got["predictions"].tolist() == estimator.predict(frame).tolist()
        if classes:
            np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(frame))


@pytest.mark.parametrize(
    ("labels", "classes", "predictions", "loss"),
    [
        (BINARY, (0, 1), "INT64", None),
        (WORDS, ("high", "low", "middle"), "BYTES", None),
        (VALUES, None, "FP64", None),
        (np.abs(VALUES), None, "FP64", "Poisson"),
    ],
)
def test_catboost_answers_as_its_wrapper(tmp_path, labels, classes, predictions, loss):
    kind = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    options = {"loss_function": loss} if loss else {}
    estimator = kind(iterations=6, verbose=0, allow_writing_files=False, **options).fit(X, labels)
    signature = matrix(classes, predictions)
    estimator.save_model(str(tmp_path / "model.cbm"))
    for model in (
        catboost_adapter.load(tmp_path / "model.cbm", artifact("catboost"), signature),
        catboost_adapter.CatboostModel(estimator, {}, signature),
    ):
        got = model.run({"x": X})
        assert got["predictions"].tolist() == estimator.predict(X).ravel().tolist()
        if classes:
            np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(X))


def test_catboost_takes_text_columns(tmp_path):
    frame = TABLE.fillna({"city": "none"})
    estimator = catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False, cat_features=["city"])
    estimator.fit(frame, BINARY)
    estimator.save_model(str(tmp_path / "model.cbm"))
    model = catboost_adapter.load(tmp_path / "model.cbm", artifact("catboost"), table((0, 1)))
    got = model.run(tensors(frame))
    np.testing.assert_array_equal(got["probabilities"], estimator.predict_proba(frame))


SOURCE = """
import neighbour

class Doubler:
    def load(self, directory):
        self.factor = float((directory / "factor.txt").read_text())

    def predict(self, inputs, parameters):
        return inputs[:, 0] * self.factor * parameters.get("times", 1) * neighbour.ONE

class Plain:
    def predict(self, inputs):
        return {"predictions": inputs[:, 0].astype("float64")}

class Short:
    def predict(self, inputs):
        return inputs[:1, 0]

class Raises:
    def predict(self, inputs):
        raise KeyError("no such thing")

class NoPredict:
    pass
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "model.py").write_text(SOURCE)
    (tmp_path / "neighbour.py").write_text("ONE = 1\n")
    (tmp_path / "factor.txt").write_text("2")
    return tmp_path / "model.py"


def test_python_class_gets_its_files_and_parameters(source):
    model = python_adapter.load(source, artifact("python", "source", "Doubler"), matrix(None, "FP64"))
    np.testing.assert_allclose(model.run({"x": X}, {"times": 3})["predictions"], X[:, 0].astype(np.float64) * 6)
    assert not (source.parent / "__pycache__").exists()


def test_python_class_may_answer_a_dict(source):
    model = python_adapter.load(source, artifact("python", "source", "Plain"), matrix(None, "FP64"))
    np.testing.assert_array_equal(model.run({"x": X})["predictions"], X[:, 0])


@pytest.mark.parametrize(("entry", "code"), [("Short", "wrong-output"), ("Raises", "model-failed")])
def test_python_class_that_fails_says_so(source, entry, code):
    model = python_adapter.load(source, artifact("python", "source", entry), matrix(None, "FP64"))
    with pytest.raises(ModelFailed) as caught:
        model.run({"x": X})
    assert caught.value.code == code


@pytest.mark.parametrize("entry", ["NoPredict", "Missing", "Path"])
def test_python_source_without_the_class(source, entry):
    with pytest.raises(InvalidInput, match="damaged-model"):
        python_adapter.load(source, artifact("python", "source", entry), matrix(None, "FP64"))


@pytest.mark.parametrize("serialization", ["joblib", "pickle"])
def test_a_pickle_is_opened_only_when_allowed(tmp_path, serialization):
    path = tmp_path / "model.pkl"
    estimator = LogisticRegression().fit(X, BINARY)
    joblib.dump(estimator, path)
    with pytest.raises(Refused, match="pickle-refused"):
        sklearn_adapter.load(path, artifact("sklearn", serialization), matrix((0, 1)))
    model = sklearn_adapter.load(path, artifact("sklearn", "joblib"), matrix((0, 1)), allow_pickle=True)
    assert model.run({"x": X})["predictions"].tolist() == estimator.predict(X).tolist()


class Gadget:
    """What the user's own types look like to the loader."""


def test_a_skops_file_cannot_vouch_for_itself(tmp_path):
    path = tmp_path / "model.skops"
    estimator = LogisticRegression().fit(X, BINARY)
    estimator.extra_ = Gadget()
    skops_io.dump(estimator, path)
    with pytest.raises(Refused, match=r"Gadget.*untrusted-type"):
        sklearn_adapter.load(path, artifact("sklearn", "skops"), matrix((0, 1)))


GADGETS = {
    "os.system": os.system,
    "builtins.eval": eval,
    "functools.partial": functools.partial(os.system, "true"),
    "a partial of a trusted type": functools.partial(catboost.CatBoostClassifier, train_dir="elsewhere"),
    "a method of a trusted type": catboost.CatBoostClassifier().save_model,
    "operator.methodcaller": operator.methodcaller("system", "true"),
    "operator.attrgetter": operator.attrgetter("system"),
    "subprocess.check_output": subprocess.check_output,
    "joblib.numpy_pickle.load": joblib.load,
}


@pytest.mark.parametrize("name", GADGETS)
def test_a_skops_file_that_would_call_something_is_refused(tmp_path, name):
    path = tmp_path / "model.skops"
    skops_io.dump(FunctionTransformer(GADGETS[name]), path)
    with pytest.raises(Refused, match="untrusted-type"):
        sklearn_adapter.open_estimator(path, "skops")


@pytest.mark.parametrize("name", ["posix.system", "builtins.eval", "builtins.getattr", "operator.methodcaller"])
def test_nothing_that_calls_is_on_the_list(name):
    assert name not in TRUSTED


@pytest.mark.parametrize(
    ("adapter", "runtime", "serialization"),
    [
        (sklearn_adapter, "sklearn", "skops"),
        (xgboost_adapter, "xgboost", "native"),
        (lightgbm_adapter, "lightgbm", "native"),
        (catboost_adapter, "catboost", "native"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, adapter, runtime, serialization):
    path = tmp_path / "model.bin"
    path.write_bytes(b"not a model at all")
    with pytest.raises(InvalidInput, match=r"model\.bin.*damaged-model"):
        adapter.load(path, artifact(runtime, serialization), matrix((0, 1)))
    with pytest.raises(Unsupported, match="unsupported-serialization"):
        adapter.load(path, artifact(runtime, "onnx"), matrix((0, 1)))


@pytest.mark.parametrize(("values", "datatype"), [([1.5], "INT64"), ([300], "UINT8"), (["a"], "FP32"), ([2], "BOOL")])
def test_a_result_is_never_changed_to_fit(values, datatype):
    class Fixed:
        def predict(self, x):
            return np.array(values)

    model = sklearn_adapter.SklearnModel(Fixed(), {}, matrix(None, datatype))
    with pytest.raises(ModelFailed, match="wrong-output"):
        model.run({"x": X[:1]})
