"""Tables: names, order, text, missing values and unknown categories."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from tests.pack.convert.proof import answers, check, convert, feeds, session_of, signature_of

from penstock.core.signature import Field, Signature
from penstock.pack.convert import CannotConvert, candidates

ROWS = 200


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "city": rng.choice(["Oslo", "Bærum", "ß", ""], ROWS),
            "size": rng.choice(["s", "m", None], ROWS),
            "age": rng.integers(0, 90, ROWS),
            "pay": rng.standard_normal(ROWS) * 1000,
            "member": rng.random(ROWS) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def target(table):
    return (table["pay"] + 10 * table["age"] > 300).astype(int)


def _model(*parts, remainder="passthrough"):
    return make_pipeline(ColumnTransformer(list(parts), remainder=remainder), StandardScaler(), LogisticRegression())


def _one_hot(**options):
    return ("hot", OneHotEncoder(sparse_output=False, **options), ["city", "size"])


def test_inputs_and_outputs_are_named_as_the_columns(table, target):
    model = check(_model(_one_hot()).fit(table, target), table)
    session = session_of(model)
    assert {i.name: (i.type, i.shape) for i in session.get_inputs()} == {
        "city": ("tensor(string)", ["N", 1]),
        "size": ("tensor(string)", ["N", 1]),
        "age": ("tensor(int64)", ["N", 1]),
        "pay": ("tensor(double)", ["N", 1]),
        "member": ("tensor(bool)", ["N", 1]),
    }
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("predictions", ["N"]), ("probabilities", ["N", 2])]


def test_unknown_categories_answer_as_the_encoder_does(table, target):
    unseen = table.assign(city="Atlantis")
    check(_model(_one_hot(handle_unknown="ignore")).fit(table, target), table, unseen)


def test_a_category_that_the_encoder_refuses_fails(table, target):
    model = convert(_model(_one_hot()).fit(table, target), table)
    unseen = table.assign(city="Atlantis")
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        answers(model, unseen)
    ordinal = _model(("o", OrdinalEncoder(), ["city"]), ("d", "drop", ["size"])).fit(table, target)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        answers(convert(ordinal, table), unseen)


def test_missing_text_that_training_never_saw_is_unknown(table, target):
    full = table.assign(size=table["size"].fillna("m"))
    estimator = _model(_one_hot(handle_unknown="ignore")).fit(full, target)
    check(estimator, table)


@pytest.mark.parametrize("fill", ["m", "never seen"])
def test_missing_text_is_filled_in(table, target, fill):
    steps = make_pipeline(SimpleImputer(strategy="constant", fill_value=fill), OneHotEncoder(handle_unknown="ignore"))
    check(_model(("hot", steps, ["city", "size"])).fit(table, target), table)


def test_a_marker_is_filled_in(table, target):
    full = table.assign(size=table["size"].fillna("?"))
    imputer = SimpleImputer(missing_values="?", strategy="most_frequent")
    steps = make_pipeline(imputer, OneHotEncoder(sparse_output=False))
    check(_model(("hot", steps, ["city", "size"])).fit(full, target), full)


def test_columns_may_come_in_another_order_and_with_others(table, target):
    estimator = _model(_one_hot()).fit(table, target)
    mixed = table[table.columns[::-1]].assign(other=1.0)
    model = convert(estimator, mixed)
    fed = feeds(mixed)
    names = ["predictions", "probabilities"]
    got = session_of(model).run(names, {i.name: fed[i.name] for i in session_of(model).get_inputs()})
    assert np.array_equal(got[0], estimator.predict(table))


def test_a_lacking_column_is_refused(table, target):
    estimator = _model(_one_hot()).fit(table, target)
    with pytest.raises(CannotConvert, match="'pay'"):
        candidates(estimator, "sklearn", signature_of(table.drop(columns="pay"), estimator.classes_))


def test_a_column_named_as_an_output_is_refused(table, target):
    renamed = table.rename(columns={"pay": "predictions"})
    with pytest.raises(CannotConvert, match="'predictions'"):
        convert(_model(_one_hot()).fit(renamed, target), renamed)


@pytest.mark.parametrize("name", ["v1", "v_", "#1", "Ω ß", "a b"])
def test_any_column_name(target, name):
    table = pd.DataFrame({name: np.linspace(-1, 1, ROWS), "other": np.linspace(1, 5, ROWS)})
    check(make_pipeline(StandardScaler(), LogisticRegression()).fit(table, target), table)


def test_a_column_without_a_name_is_refused(target):
    table = pd.DataFrame({"": np.linspace(-1, 1, ROWS)})
    with pytest.raises(CannotConvert, match="without a name"):
        convert(LogisticRegression().fit(table, target), table)


def test_missing_integers_are_refused(table, target):
    fields = tuple(Field(name=name, datatype="INT64", shape=(-1,), nullable=True) for name in ("age",))
    estimator = LogisticRegression().fit(table[["age"]], target)
    with pytest.raises(CannotConvert, match="missing values"):
        candidates(estimator, "sklearn", Signature(inputs=fields, outputs=(), layout="table", classes=(0, 1)))


def test_half_precision_is_refused():
    x = np.zeros((4, 2), np.float16)
    estimator = LogisticRegression().fit(np.eye(2), [0, 1])
    with pytest.raises(CannotConvert, match="FP16"):
        candidates(estimator, "sklearn", signature_of(x, estimator.classes_))


def test_numbers_as_categories(table, target):
    parts = ("hot", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["age", "member"])
    numbers = table[["age", "member", "pay"]]
    check(_model(parts).fit(numbers, target), numbers, numbers.assign(age=1000))


def test_text_where_numbers_are_expected_is_refused(table, target):
    encoder = ("hot", OneHotEncoder(handle_unknown="ignore"), ["age"])
    estimator = make_pipeline(ColumnTransformer([encoder]), LogisticRegression()).fit(table[["age"]], target)
    fields = (Field(name="age", datatype="BYTES", shape=(-1,)),)
    with pytest.raises(CannotConvert, match="not text"):
        candidates(estimator, "sklearn", Signature(inputs=fields, outputs=(), layout="table", classes=(0, 1)))
