"""Nothing of a person leaves with the bundle: golden rows are nobody's, sensitive values are nowhere."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from penstock.bundle.bundle import verify_directory
from penstock.bundle.profile import read_profile
from penstock.core.signature import Signature
from penstock.pack import pack
from penstock.pack.golden_rows import golden_rows, synthetic_calls
from penstock.pack.sample import read_sample
from penstock.runtime import golden

ROWS = 100


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    rng = np.random.default_rng(5)
    people = pd.DataFrame(
        {
            "salary": rng.normal(50_000, 9_000, ROWS).round(2),
            "age": rng.integers(20, 60, ROWS),
            "doctor": [f"Dr {number % 9}" for number in range(ROWS)],
            "ward": ["north", "south"] * (ROWS // 2),
            "drug": pd.Categorical([f"drug {number % 7}" for number in range(ROWS)]),
            "height": rng.normal(170, 10, ROWS),
        }
    )
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["salary", "age", "height"]),
            ("open", OneHotEncoder(handle_unknown="ignore"), ["doctor", "drug"]),
            ("closed", OneHotEncoder(), ["ward"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(people, people["height"] > 170)
    out = tmp_path_factory.mktemp("privacy") / "out"
    packed = pack(model, people, name="m", out=out, sensitive=["salary", "age", "doctor", "ward", "drug"])
    return people, verify_directory(out, packed.digest)


def test_no_golden_row_is_a_persons(bundle):
    people, opened = bundle
    (call,) = golden.read(opened.path("golden.bin"))
    known = {tuple(row) for row in people.itertuples(index=False)}
    rows = list(zip(*(call.inputs[name].tolist() for name in people.columns), strict=True))
    assert 0 < len(rows) <= 32
    assert not known.intersection(rows)


@pytest.mark.parametrize("name", ["salary", "age", "doctor", "drug"])
def test_golden_rows_hold_no_value_of_a_sensitive_column(name, bundle):
    people, opened = bundle
    (call,) = golden.read(opened.path("golden.bin"))
    assert not set(call.inputs[name].tolist()) & set(people[name].tolist())
    assert set(call.inputs["height"].tolist()) <= set(people["height"].tolist())


def test_a_sensitive_columns_values_are_in_no_file(bundle):
    people, opened = bundle
    for path in opened.directory.rglob("*"):
        # The model itself knows its categories; nothing else may.
        if path.is_file() and path.parent.name not in ("original", "served"):
            data = path.read_bytes()
            assert b"Dr 3" not in data, path
            assert b"drug 3" not in data, path
            assert str(people["salary"][7]).encode() not in data, path
    fields = {field.name: field for field in opened.manifest.signature.inputs}
    assert fields["doctor"].sensitive
    assert fields["doctor"].categories is None
    # A closed column's list is the model's vocabulary, without which a node could not refuse the rest.
    assert fields["ward"].categories == ("north", "south")


def test_the_profile_counts_only_what_is_missing_there(bundle):
    _, opened = bundle
    profile = read_profile(opened.path("profile.json"))
    columns = {column.name: column for column in profile.inputs}
    for name in ("salary", "age", "doctor", "ward", "drug"):
        assert columns[name].sensitive
        assert (columns[name].count, columns[name].nulls) == (ROWS, 0)
        assert columns[name].numbers is None
        assert columns[name].categories is None
    assert columns["height"].numbers is not None
    assert sum(columns["height"].numbers.counts) == ROWS


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**32), st.sampled_from([np.float64, np.int64, np.float32])
)
def test_shuffling_keeps_each_column_and_repeats_itself(rows, columns, seed, dtype):
    values = np.random.default_rng(seed).normal(0, 1000, (rows, columns)).astype(dtype)
    sample = read_sample(values)
    (made, synthetic), (again, _) = (golden_rows(sample, sample.fields, seed) for _ in range(2))
    assert np.array_equal(made["x"], again["x"])
    assert made["x"].dtype == dtype
    assert 0 < len(made["x"]) <= 32
    assert synthetic == (rows == 1)
    if not synthetic:
        for column in range(columns):
            assert set(made["x"][:, column].tolist()) <= set(values[:, column].tolist())
    if rows >= 8 and columns > 1:
        assert not {*map(tuple, made["x"].tolist())} & {*map(tuple, values.tolist())}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-128, 127), min_size=1, max_size=300), st.integers(0, 2**32))
def test_invented_integers_avoid_the_sample_where_one_is_free(values, seed):
    sample = read_sample(pd.DataFrame({"a": np.array(values, np.int8)}))
    field = sample.fields[0].__class__(name="a", datatype="INT8", shape=(-1,), sensitive=True)
    made, _ = golden_rows(sample, (field,), seed)
    if sample.rows > 1 and made["a"].tolist() != [0] * len(made["a"]):
        assert not set(made["a"].tolist()) & set(values)


def test_made_up_calls_repeat_themselves():
    sample = read_sample({"a": np.zeros((2, 3)), "b": np.array(["x", "y"])})
    signature = Signature(inputs=sample.fields, outputs=(), layout="tensors")
    one, two = (synthetic_calls(signature, 2, 8, seed=4) for _ in range(2))
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(one, two, strict=True) for name in a)
    assert one[0]["a"].shape == (8, 3)
