"""What reaches a model: exactly the signature's names, datatypes and shapes, or an error that names the input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.core.binding import Binder
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES


def binder(*fields, batched=True, text_only=True):
    return Binder(Signature(inputs=fields, outputs=(), layout="tensors", batched=batched), text_only=text_only)


def code_of(bind, tensors):
    with pytest.raises(InvalidInput) as refusal:
        bind(tensors)
    return refusal.value.code


X = Field(name="x", datatype="FP32", shape=(-1, 2))
CITY = Field(name="city", datatype="BYTES", shape=(-1,), categories=("Bern", "Oslo"), closed=True)


@given(rows=st.integers(1, 9), datatype=st.sampled_from(sorted(set(DTYPES) - {"BYTES"})), data=st.data())
def test_its_own_datatype_passes_unchanged(rows, datatype, data):
    values = data.draw(hnp.arrays(DTYPES[datatype], (rows, 2), elements={"allow_nan": False, "allow_infinity": False}
                                  if DTYPES[datatype].kind == "f" else None))  # fmt: skip
    with np.errstate(over="ignore"):
        bound, count = binder(Field(name="x", datatype=datatype, shape=(-1, 2)))({"x": values})
    assert count == rows
    assert bound["x"].dtype == DTYPES[datatype]
    assert np.array_equal(bound["x"], values)


@given(
    source=st.sampled_from(sorted(set(DTYPES) - {"BYTES"})),
    target=st.sampled_from(sorted(set(DTYPES) - {"BYTES"})),
    data=st.data(),
)
def test_a_cast_keeps_every_value_or_is_refused(source, target, data):
    finite = {"allow_nan": False, "allow_infinity": False} if DTYPES[source].kind == "f" else None
    values = data.draw(hnp.arrays(DTYPES[source], (3,), elements=finite))
    bind = binder(Field(name="x", datatype=target, shape=(-1,)))
    try:
        with np.errstate(over="ignore"):
            got = bind({"x": values})[0]["x"]
    except InvalidInput as error:
        assert error.code in ("wrong-datatype", "inexact-value", "invalid-value")
        return
    assert got.dtype == DTYPES[target]
    if (source, target) == ("FP64", "FP32"):
        assert np.allclose(got, values, rtol=1e-6, atol=1e-38)
    else:
        assert [int(v) if float(v).is_integer() else float(v) for v in got.tolist()] == [
            int(v) if float(v).is_integer() else float(v) for v in values.tolist()
        ]


@pytest.mark.parametrize("beyond", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_an_integer_that_a_float_cannot_hold_is_refused(beyond):
    bind = binder(Field(name="x", datatype="FP64", shape=(-1,)))
    assert code_of(bind, {"x": np.array([1, beyond], np.int64)}) == "inexact-value"
    assert bind({"x": np.array([2**53, -(2**53)], np.int64)})[0]["x"].tolist() == [2.0**53, -(2.0**53)]


@pytest.mark.parametrize(
    ("source", "target"),
    [("FP64", "FP16"), ("FP32", "FP16"), ("INT64", "INT32"), ("INT32", "INT8"), ("INT8", "UINT8"), ("FP32", "INT64"),
     ("INT64", "FP32"), ("INT32", "FP32"), ("BYTES", "FP32"), ("FP32", "BYTES"), ("INT8", "BOOL")],
)  # fmt: skip
def test_narrowing_is_refused(source, target):
    values = np.array(["1"], object) if source == "BYTES" else np.array([1], DTYPES[source])
    assert code_of(binder(Field(name="x", datatype=target, shape=(-1,))), {"x": values}) == "wrong-datatype"


@pytest.mark.parametrize("shape", [(), (2,), (1, 3), (1, 2, 1), (2, 1)])
def test_wrong_shapes(shape):
    assert code_of(binder(X), {"x": np.ones(shape, np.float32)}) == "wrong-shape"


def test_nothing_to_answer():
    assert code_of(binder(X), {"x": np.ones((0, 2), np.float32)}) == "empty-batch"
    assert code_of(binder(CITY), {"city": np.empty(0, object)}) == "empty-batch"


def test_names():
    bind = binder(X, CITY)
    x, city = np.ones((1, 2), np.float32), np.array(["Oslo"], object)
    assert bind({"city": city, "x": x})[1] == 1
    for wrong in ({}, {"x": x}, {"x": x, "town": city}, {"x": x, "city": city, "more": x}):
        assert code_of(bind, wrong) == "wrong-inputs"


def test_rows_must_agree():
    bind = binder(X, CITY)
    assert code_of(bind, {"x": np.ones((2, 2), np.float32), "city": np.array(["Oslo"], object)}) == "unequal-rows"


def test_a_column_may_come_as_a_matrix_of_one_column():
    bound, rows = binder(CITY)({"city": np.array([["Oslo"], ["Bern"]], object)})
    assert bound["city"].tolist() == ["Oslo", "Bern"]
    assert rows == 2
    assert code_of(binder(CITY), {"city": np.array([["Oslo", "Bern"]], object)}) == "wrong-shape"


def test_categories():
    assert code_of(binder(CITY), {"city": np.array(["Paris"], object)}) == "unseen-category"
    assert code_of(binder(CITY), {"city": np.array([b"\xff"], object)}) == "not-text"
    number = Field(name="n", datatype="FP64", shape=(-1,), categories=(1.0, 2.0), closed=True, nullable=True)
    assert binder(number)({"n": np.array([1.0, np.nan])})[1] == 2
    assert code_of(binder(number), {"n": np.array([3.0])}) == "unseen-category"


def test_a_refusal_does_not_tell_the_values_of_a_sensitive_column():
    field = Field(name="city", datatype="BYTES", shape=(-1,), categories=("Bern",), closed=True, sensitive=True)
    with pytest.raises(InvalidInput) as refusal:
        binder(field)({"city": np.array(["Paris"], object)})
    assert refusal.value.code == "unseen-category"
    assert "Bern" not in str(refusal.value)


@pytest.mark.parametrize(
    ("integers", "wrong"), [("INT64", 0.5), ("INT64", 2.0**53 + 2), ("UINT8", -1.0), ("UINT8", 256.0)]
)
def test_integers_that_may_be_missing_are_still_integers(integers, wrong):
    bind = binder(Field(name="x", datatype="FP64", shape=(-1,), nullable=True, integers=integers))
    given = np.array([3.0, np.nan])
    assert np.array_equal(bind({"x": given})[0]["x"], given, equal_nan=True)
    assert bind({"x": np.array([np.nan])})[1] == 1
    assert bind({"x": np.array([7], np.uint8)})[0]["x"].tolist() == [7.0]
    assert code_of(bind, {"x": np.array([1.0, wrong])}) == "invalid-value"


@pytest.mark.parametrize("nullable", [True, False])
def test_missing_values_only_where_the_model_takes_them(nullable):
    floats = binder(Field(name="x", datatype="FP64", shape=(-1,), nullable=nullable))
    texts = binder(Field(name="x", datatype="BYTES", shape=(-1,), nullable=nullable))
    for bind, values in ((floats, np.array([1.0, np.nan])), (texts, np.array(["a", None], object))):
        if nullable:
            assert bind({"x": values})[1] == 2
        else:
            assert code_of(bind, {"x": values}) == "missing-value"


@given(st.lists(st.floats(allow_nan=False, width=64), min_size=1, max_size=5))
def test_no_infinite_number_reaches_a_model(values):
    bind = binder(Field(name="x", datatype="FP32", shape=(-1,), nullable=True))
    array = np.array(values)
    with np.errstate(over="ignore"):
        fits = np.isfinite(array.astype(np.float32)).all()
        if fits:
            assert np.isfinite(bind({"x": array})[0]["x"]).all()
        else:
            assert code_of(bind, {"x": array}) == "invalid-value"


def test_a_model_without_rows_is_one_call():
    bind = binder(Field(name="x", datatype="FP32", shape=(2, 3)), batched=False)
    assert bind({"x": np.ones((2, 3))})[1] == 1
    assert code_of(bind, {"x": np.ones((1, 3))}) == "wrong-shape"
    scalar = binder(Field(name="x", datatype="FP32", shape=()), batched=False)
    assert scalar({"x": np.array(1.0)})[0]["x"].shape == ()
