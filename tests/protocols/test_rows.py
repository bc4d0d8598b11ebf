"""The friendly form: rows of columns in, predictions out."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.protocols.rows import RowsCodec

TABLE = Signature(
    inputs=(
        Field(name="income", datatype="FP64", shape=(-1,), nullable=True),
        Field(name="age", datatype="INT8", shape=(-1,)),
        Field(name="my city", datatype="BYTES", shape=(-1,), categories=("Bern", "Oslo"), closed=True),
        Field(name="member", datatype="BOOL", shape=(-1,)),
        Field(name="big", datatype="UINT64", shape=(-1,)),
    ),
    outputs=(),
    layout="table",
    classes=("no", "yes"),
)
CODEC = RowsCodec("churn", "7", TABLE)
MATRIX = RowsCodec(
    "m", "1", Signature(inputs=(Field(name="x", datatype="FP32", shape=(-1, 2)),), outputs=(), layout="matrix")
)
ROW = {"income": 1.5, "age": 30, "my city": "Oslo", "member": True, "big": 2**64 - 1}


def code_of(document, codec=CODEC):
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidInput) as refusal, np.errstate(over="ignore"):
        codec.decode(text)
    return refusal.value.code


def test_rows():
    call = CODEC.decode(json.dumps({"rows": [ROW, {**ROW, "income": None}], "id": "mine"}).encode())
    assert (call.rows, call.id) == (2, "mine")
    assert call.inputs["my city"].tolist() == ["Oslo", "Oslo"]
    truths = CODEC.decode(json.dumps({"rows": [{**ROW, "member": one} for one in (True, 1, 0)]}).encode())
    assert truths.inputs["member"].tolist() == [True, True, False]
    assert call.inputs["big"].tolist() == [2**64 - 1] * 2
    assert call.inputs["age"].dtype == np.int8
    assert np.isnan(call.inputs["income"][1])
    assert MATRIX.decode(b'{"rows": [{"x": [1, 2]}]}').inputs["x"].tolist() == [[1.0, 2.0]]


def test_missing_values_inside_a_row_of_a_matrix():
    field = Field(name="x", datatype="FP32", shape=(-1, 2), nullable=True)
    codec = RowsCodec("m", "1", Signature(inputs=(field,), outputs=(), layout="matrix"))
    values = codec.decode(b'{"rows": [{"x": [null, 2]}, {"x": [3, 4]}]}').inputs["x"]
    assert np.array_equal(values, [[np.nan, 2], [3, 4]], equal_nan=True)
    assert code_of({"rows": [{"x": None}]}, codec) == "invalid-rows"
    assert code_of({"rows": [{"x": [None, 2]}]}, MATRIX) == "invalid-rows"


def without(name):
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "invalid-rows"),
        (b"\xff", "invalid-rows"),
        (b"[" * 500_000, "invalid-rows"),
        (b'{"rows":' + b"[" * 500_000, "invalid-rows"),
        ({}, "invalid-rows"),
        ({"rows": []}, "empty-batch"),
        ({"rows": {}}, "invalid-rows"),
        ({"rows": [[1, 2, 3]]}, "invalid-rows"),
        ({"rows": [ROW], "more": 1}, "invalid-rows"),
        ({"rows": [without("age")]}, "invalid-rows"),
        ({"rows": [{**ROW, "extra": 1}]}, "invalid-rows"),
        ({"rows": [ROW, {**ROW, "age": None}]}, "invalid-rows"),
        ({"rows": [{**ROW, "age": 128}]}, "invalid-rows"),
        ({"rows": [{**ROW, "age": 1.5}]}, "invalid-rows"),
        ({"rows": [{**ROW, "age": "30"}]}, "invalid-rows"),
        ({"rows": [{**ROW, "age": True}]}, "invalid-rows"),
        ({"rows": [{**ROW, "member": 2}]}, "invalid-rows"),
        ({"rows": [{**ROW, "member": 1.5}]}, "invalid-rows"),
        ({"rows": [{**ROW, "member": "1"}]}, "invalid-rows"),
        ({"rows": [{**ROW, "member": None}]}, "invalid-rows"),
        ({"rows": [{**ROW, "my city": 1}]}, "invalid-rows"),
        ({"rows": [{**ROW, "my city": "Paris"}]}, "unseen-category"),
        ({"rows": [{**ROW, "big": -1}]}, "invalid-value"),
        ({"rows": [{**ROW, "big": 2**64}]}, "invalid-value"),
        ({"rows": [{**ROW, "income": "1"}]}, "invalid-rows"),
        (json.dumps({"rows": [ROW]}).replace("1.5", "NaN").encode(), "invalid-rows"),
        (json.dumps({"rows": [ROW]}).replace("1.5", "Infinity").encode(), "invalid-rows"),
        (json.dumps({"rows": [ROW]}).replace("1.5", "1e400").encode(), "invalid-rows"),
        (json.dumps({"rows": [ROW]}).replace('"age": 30', '"age": 1, "age": 30').encode(), "duplicate-key"),
        (json.dumps({"rows": [ROW]}).replace('{"rows"', '{"rows": [], "rows"').encode(), "duplicate-key"),
        (json.dumps({"rows": [ROW]}).replace("Oslo", "\\ud800").encode(), "invalid-rows"),
        (json.dumps({"rows": [ROW]}).encode().replace(b"Oslo", b"\xff"), "invalid-rows"),
    ],
)  # fmt: skip
def test_bad_rows_are_refused_with_their_code(document, code):
    assert code_of(document) == code


@pytest.mark.parametrize("x", [[1], [1, 2, 3], [[1, 2]], 1, [1, "2"], [1, None], [], None, [1, 1e39]])
def test_bad_rows_of_a_matrix(x):
    assert code_of({"rows": [{"x": [1, 2]}, {"x": x}]}, MATRIX) in ("invalid-rows", "wrong-shape", "invalid-value")


def test_missing_integers_are_refused_also_where_the_signature_says_nullable():
    field = Field(name="n", datatype="INT64", shape=(-1,), nullable=True)
    codec = RowsCodec("m", "1", Signature(inputs=(field,), outputs=(), layout="table"))
    assert code_of({"rows": [{"n": 1}, {"n": None}]}, codec) == "missing-value"


def test_a_model_without_rows():
    field = Field(name="x", datatype="FP32", shape=(2,))
    codec = RowsCodec("m", "1", Signature(inputs=(field,), outputs=(), layout="tensors", batched=False))
    assert code_of({"rows": [{"x": 1}]}, codec) == "no-rows"


def test_the_answer():
    call = CODEC.decode(json.dumps({"rows": [ROW], "id": "i"}).encode())
    outputs = {
        "predictions": np.array(["yes"], object),
        "probabilities": np.array([[0.25, np.nan]]),
        "extra": np.array([1]),
    }
    body, lines = CODEC.encode(call, outputs)
    assert lines == b"content-type: application/json\r\n"
    assert json.loads(body) == {
        "id": "i", "endpoint": "churn", "version": "7", "predictions": ["yes"],
        "probabilities": [[0.25, None]], "classes": ["no", "yes"], "outputs": {"extra": [1]},
    }  # fmt: skip


@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False) | st.none(), st.integers(-128, 127)),
        min_size=1,
        max_size=5,
    )
)
def test_values_arrive_as_they_were_sent(values):
    rows = [{**ROW, "income": income, "age": age} for income, age in values]
    with np.errstate(over="ignore"):
        call = CODEC.decode(json.dumps({"rows": rows}).encode())
    assert call.inputs["age"].tolist() == [age for _, age in values]
    assert [None if np.isnan(v) else v for v in call.inputs["income"].tolist()] == [income for income, _ in values]


@given(st.binary(max_size=100))
def test_no_bytes_make_decoding_fail_in_another_way(body):
    with contextlib.suppress(InvalidInput):
        CODEC.decode(body)
