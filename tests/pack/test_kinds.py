"""Every kind of model, live and from its file: the bundle loads, replays its golden rows and answers the same."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import InvalidInput, ModelFailed, PenstockError, Refused
from penstock.pack import pack
from penstock.pack.sample import read_sample
from penstock.protocols.rows import RowsCodec
from penstock.runtime import golden
from penstock.runtime.load import load_model

RNG = np.random.default_rng(3)
X = RNG.normal(size=(80, 4))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int)
NAMES = ["a", "b", "c", "d"]
TABLE = pd.DataFrame(X, columns=NAMES)


def _packed(model, sample, out, **choices):
    packed = pack(model, sample, name="m", out=out, **choices)
    bundle = verify_directory(packed.path, packed.digest)
    served = load_model(bundle, allow_pickle=bool(choices.get("allow_pickle")))
    golden.replay(served, bundle)
    inputs = read_sample(sample, target=choices.get("target", "")).inputs
    return bundle.manifest, served.run(inputs)


def _boosters():
    import catboost
    import lightgbm
    import xgboost

    labels = Y + (X[:, 2] > 1)
    return {
        "xgboost": xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(TABLE, labels),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(TABLE, np.array(["u", "v", "w"])[labels]),
        "catboost": catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False).fit(TABLE, labels),
        "xgboost regressor": xgboost.XGBRegressor(n_estimators=5, max_depth=2).fit(TABLE, X[:, 0]),
        "lightgbm regressor": lightgbm.LGBMRegressor(n_estimators=5, verbose=-1).fit(TABLE, X[:, 0]),
        "catboost regressor": catboost.CatBoostRegressor(
            iterations=5, verbose=0, allow_writing_files=False
        ).fit(TABLE, X[:, 0]),
    }  # fmt: skip


@pytest.fixture(scope="module")
def boosters():
    return _boosters()


@pytest.mark.parametrize("kind", ["xgboost", "lightgbm", "catboost"])
def test_a_live_booster_is_kept_in_its_own_format(kind, boosters, tmp_path):
    model = boosters[kind]
    manifest, answers = _packed(model, TABLE, tmp_path / "out")
    assert (manifest.original.runtime, manifest.original.serialization) == (kind, "native")
    assert np.array_equal(answers["predictions"], np.ravel(model.predict(TABLE)))
    assert np.allclose(answers["probabilities"], model.predict_proba(TABLE), rtol=1e-4, atol=1e-5)
    assert manifest.waiver is None


@pytest.mark.parametrize("kind", ["xgboost regressor", "lightgbm regressor", "catboost regressor"])
def test_a_boosted_regressor(kind, boosters, tmp_path):
    manifest, answers = _packed(boosters[kind], TABLE, tmp_path / "out")
    assert manifest.signature.classes is None
    assert np.allclose(answers["predictions"], boosters[kind].predict(TABLE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("xgboost", "m.json"), ("xgboost", "m.ubj"), ("lightgbm", "m.txt"), ("catboost", "m.cbm")],
)
def test_a_booster_file(kind, name, boosters, tmp_path):
    model = boosters[kind]
    (model.booster_ if kind == "lightgbm" else model).save_model(str(tmp_path / name))
    manifest, answers = _packed_file(tmp_path / name, tmp_path / "out")
    assert (manifest.original.runtime, manifest.served.runtime) == (kind, "onnx")
    assert np.allclose(answers["probabilities"], model.predict_proba(TABLE), rtol=1e-4, atol=1e-5)
    # LightGBM's file does not keep the labels: its classes are numbers.
    assert manifest.signature.classes == (0, 1, 2)


def _packed_file(path, out, **choices):
    return _packed(path, TABLE, out, **choices)


SKLEARN = {
    "regression": lambda: LinearRegression().fit(X, X[:, 0]),
    "several outputs": lambda: LinearRegression().fit(X, X[:, :2]),
    "several labels": lambda: RandomForestClassifier(3, random_state=0).fit(X, np.stack([Y, 1 - Y], axis=1)),
    "no probabilities": lambda: LinearSVC(random_state=0).fit(X, Y),
    "texts": lambda: LogisticRegression().fit(X, np.array(["no", "yes", "maybe"])[Y + (X[:, 3] > 0)]),
    "truths": lambda: LogisticRegression().fit(X, Y > 0),
    "small integers": lambda: LogisticRegression().fit(X, Y.astype(np.int8)),
    "floats": lambda: LogisticRegression().fit(X, Y + 1.0),
    "forest": lambda: RandomForestRegressor(5, random_state=0, n_jobs=2).fit(X, X[:, 0]),
    "not converted": lambda: RadiusNeighborsClassifier(9.0).fit(X, Y),
}


@pytest.mark.parametrize("kind", SKLEARN)
def test_scikit_learn(kind, tmp_path):
    model = SKLEARN[kind]()
    manifest, answers = _packed(model, X, tmp_path / "out")
    want = model.predict(X)
    if want.dtype.kind == "f" and manifest.signature.classes is None:
        assert np.allclose(answers["predictions"], want, rtol=1e-4, atol=1e-5)
    else:
        assert np.array_equal(answers["predictions"].astype(want.dtype), want)
    if manifest.signature.classes is not None and hasattr(model, "predict_proba"):
        assert manifest.signature.classes == tuple(model.classes_.tolist())
        assert np.allclose(answers["probabilities"], model.predict_proba(X), rtol=1e-4, atol=1e-5)
    assert getattr(model, "n_jobs", None) == (2 if kind == "forest" else None)


def _people(rows=90):
    return pd.DataFrame(
        {
            "age": np.where(np.arange(rows) % 11 == 0, np.nan, np.arange(rows) % 50 + 20.0),
            "city": pd.Series([[None, "Oslo", "Rome", "Bern"][number % 4] for number in range(rows)], dtype="str"),
            "size": pd.Categorical([["S", "M", "L"][number % 3] for number in range(rows)]),
            "floor": np.arange(rows) % 4,
            "label": [["no", "yes"][number % 5 > 1] for number in range(rows)],
        }
    )


def test_missing_values_texts_and_categories(tmp_path):
    people = _people()
    columns = ColumnTransformer(
        [
            ("age", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            ("open", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("closed", OneHotEncoder(), ["size", "floor"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(people.drop(columns="label"), people["label"])
    manifest, answers = _packed(model, people, tmp_path / "out", target="label")
    fields = {field.name: field for field in manifest.signature.inputs}
    assert [fields[name].nullable for name in ("age", "city", "size", "floor")] == [True, True, False, False]
    assert [fields[name].closed for name in ("age", "city", "size", "floor")] == [False, False, True, True]
    assert fields["floor"].categories == (0, 1, 2, 3)
    assert np.array_equal(answers["predictions"], model.predict(people.drop(columns="label")))


@pytest.mark.parametrize("sensitive", [(), ("count",)])
def test_integers_that_may_be_missing_convert_and_a_fraction_is_refused(tmp_path, sensitive):
    rng = np.random.default_rng(5)
    counts = pd.array([None if row % 7 == 0 else row % 40 for row in range(120)], dtype="Int64")
    table = pd.DataFrame({"count": counts, "size": rng.normal(size=120)})
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(table, table["size"] > 0)
    packed = pack(model, table, name="m", out=tmp_path / "m.penstock", sensitive=sensitive)
    assert packed.manifest.served.runtime == "onnx", packed.manifest.evidence
    assert packed.manifest.signature.inputs[0].integers == "INT64"
    codec = RowsCodec("m", "1", packed.manifest.signature)
    assert codec.decode(b'{"rows": [{"count": 3, "size": 1}, {"count": null, "size": 1}]}').rows == 2
    with pytest.raises(InvalidInput, match="invalid-value"):
        codec.decode(b'{"rows": [{"count": 1.5, "size": 1}]}')


def test_histogram_boosting_with_categories_and_missing_values(tmp_path):
    people = _people().drop(columns="city")
    x, y = people.drop(columns="label"), people["label"]
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0, categorical_features="from_dtype").fit(x, y)
    manifest, answers = _packed(model, people, tmp_path / "out", target="label")
    assert manifest.evidence.converted
    assert np.array_equal(answers["predictions"], model.predict(x))


def test_an_encoders_own_categories_are_kept_where_the_sample_lacks_some(tmp_path):
    people = _people()
    columns = ColumnTransformer([("size", OrdinalEncoder(), ["size"])])
    model = make_pipeline(columns, LogisticRegression()).fit(people[["size"]], people["label"])
    few = people[people["size"] != "L"][["size"]].astype(str)
    manifest, _ = _packed(model, few, tmp_path / "out")
    assert manifest.signature.inputs[0].categories == ("L", "M", "S")


def test_columns_in_another_order_are_put_right(tmp_path):
    model = LogisticRegression().fit(TABLE, Y)
    manifest, answers = _packed(model, TABLE[["d", "b", "a", "c"]], tmp_path / "out")
    assert [field.name for field in manifest.signature.inputs] == NAMES
    assert np.array_equal(answers["predictions"], model.predict(TABLE))


@pytest.mark.parametrize(
    ("fitted", "sample", "choices"),
    [
        (TABLE, TABLE[["a", "b", "c"]], {}),
        (TABLE, TABLE.assign(id=1), {}),
        (TABLE, TABLE.rename(columns={"a": "A"}), {}),
        (TABLE, X, {}),
        (X, X[:, :3], {}),
        (X, TABLE[["a", "b"]], {}),
    ],
    ids=["missing", "extra", "renamed", "unnamed", "narrow", "few"],
)
def test_a_sample_with_other_columns_than_in_training(fitted, sample, choices, tmp_path):
    with pytest.raises(InvalidInput) as failure:
        pack(LogisticRegression().fit(fitted, Y), sample, name="m", out=tmp_path / "out", **choices)
    assert failure.value.code == "wrong-columns"
    assert not (tmp_path / "out").exists()


class Outsider(ClassifierMixin, BaseEstimator):
    """A class of the user's own, which no list of ours names."""

    def fit(self, x, y):
        self.classes_ = np.unique(y)
        self.n_features_in_ = x.shape[1]
        return self

    def predict(self, x):
        return self.classes_[(np.asarray(x)[:, 0] > 0).astype(int)]


def test_an_estimator_of_no_known_type_needs_a_waiver(tmp_path):
    model = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression()).fit(X, Y)
    for refused in (model, Outsider().fit(X, Y)):
        with pytest.raises(Refused) as refusal:
            pack(refused, X, name="m", out=tmp_path / "out")
        assert refusal.value.code == "pickle-refused"
    manifest, answers = _packed(model, X, tmp_path / "out", allow_pickle="only numpy inside")
    assert manifest.original.serialization == "joblib"
    assert manifest.waiver.reason == "only numpy inside"
    assert manifest.waiver.file_sha256 == manifest.files["original/model.joblib"].sha256
    assert np.array_equal(answers["predictions"], model.predict(X))


def test_a_waiver_that_was_not_needed_is_not_recorded(tmp_path):
    manifest, _ = _packed(LogisticRegression().fit(X, Y), X, tmp_path / "out", allow_pickle="just in case")
    assert (manifest.original.serialization, manifest.waiver) == ("skops", None)


@pytest.mark.parametrize("suffix", [".joblib", ".pickle", ".pkl"])
def test_a_pickle_that_does_not_convert_is_served_as_one(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    model = RadiusNeighborsClassifier(9.0).fit(X, Y)
    path.write_bytes(pickle.dumps(model)) if suffix == ".pkl" else joblib.dump(model, path)
    manifest, answers = _packed(path, X, tmp_path / "out", allow_pickle="ours")
    assert (manifest.served.path, manifest.served.serialization) == (f"original/model{suffix}", "joblib")
    assert not manifest.evidence.converted
    assert manifest.golden.deterministic
    assert answers["probabilities"].shape == (80, 2)


def test_what_cannot_predict_or_cannot_answer_its_sample(tmp_path):
    with pytest.raises(InvalidInput) as failure:
        pack(StandardScaler().fit(X), X, name="m", out=tmp_path / "out")
    assert failure.value.code == "no-predict"
    with pytest.raises(ModelFailed) as failed:
        pack(LogisticRegression(), X, name="m", out=tmp_path / "out")
    assert failed.value.code == "sample-refused"
    holes = np.where(X > 1, np.nan, X)
    with pytest.raises(PenstockError) as refused:
        pack(LogisticRegression().fit(X, Y), holes, name="m", out=tmp_path / "out")
    assert refused.value.code == "sample-refused"
    with pytest.raises(InvalidInput) as missing:
        pack(LogisticRegression().fit(X, Y), name="m", out=tmp_path / "out")
    assert missing.value.code == "sample-missing"


@pytest.mark.parametrize(
    "choices", [{"name": "../m"}, {"sensitve": ["a"]}, {"metrics": {"auc": "high"}}, {"sensitive": ["nothing"]}]
)
def test_choices_that_make_no_sense(choices, tmp_path):
    with pytest.raises(InvalidInput) as failure:
        pack(LogisticRegression().fit(X, Y), X, **{"name": "m", **choices}, out=tmp_path / "out")
    assert failure.value.code in ("invalid-name", "invalid-choice", "unknown-column")
