"""Whom an answer sticks to: the same unit in every form of a request, and nobody rather than an error."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.routes import Unit
from penstock.core.signature import Field, Signature
from penstock.core.tensors import to_bytes
from penstock.protocols.oip.form import INFER
from penstock.protocols.rows import ROWS
from penstock.protocols.unit import MOST_UNIT_BYTES, unit_reader

LENGTH = b"inference-header-content-length"


def reader(datatype="BYTES"):
    """What reads the unit `who`, an input beside `age`."""
    inputs = tuple(Field(name=name, datatype=kind, shape=(-1,)) for name, kind in (("age", "FP64"), ("who", datatype)))
    return unit_reader(Unit(field="who"), [Signature(inputs=inputs, outputs=(), layout="tensors")])


def rows(*values):
    return json.dumps(
        {"rows": [{"age": 1.5, "who": value, "tags": [1, {"who": "inner"}]} for value in values]}
    ).encode()


def tensors(data, datatype="BYTES", shape=(2,)):
    other = {"name": "age", "shape": [2], "datatype": "FP64", "data": [1.5, 2.5]}
    wanted = {"name": "who", "shape": list(shape), "datatype": datatype, "data": data}
    return json.dumps({"id": "who", "inputs": [other, wanted]}).encode()


def binary(array, datatype, before=b"\0" * 16):
    data = to_bytes(array)
    head = json.dumps({"inputs": [
        {"name": "age", "shape": [2], "datatype": "FP64", "parameters": {"binary_data_size": len(before)}},
        {
            "name": "who", "shape": list(array.shape), "datatype": datatype,
            "parameters": {"binary_data_size": len(data)},
        },
    ]}).encode()  # fmt: skip
    return {LENGTH: str(len(head)).encode()}, head + before + data


@pytest.mark.parametrize(
    ("value", "datatype", "dtype", "unit"),
    [
        ("ann", "BYTES", object, "ann"), ("aü \"x\\", "BYTES", object, "aü \"x\\"), (17, "INT64", np.int64, "17"),
        (2**63 + 5, "UINT64", np.uint64, str(2**63 + 5)), (17.0, "FP64", np.float64, "17"),
        (-0.0, "FP32", np.float32, "0"),
        (0.1, "FP32", np.float32, "0.1"), (0.1, "FP64", np.float64, "0.1"), (True, "BOOL", np.bool_, "true"),
    ],
)  # fmt: skip
def test_a_field_is_one_unit_in_every_form(value, datatype, dtype, unit):
    read = reader(datatype)
    array = np.array([value, value], dtype)
    assert read({}, rows(value, "other"), ROWS) == unit
    assert read({}, tensors([value, value], datatype), INFER) == unit
    assert read({}, tensors([[value], [value]], datatype, (2, 1)), INFER) == unit
    assert read(*binary(array, datatype), INFER) == unit


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"\xff", b'{"rows": []}', b'{"rows": [{}]}', b'{"rows": [1]}', b'{"rows": [{"who": null}]}',
        b'{"rows": [{"who": ""}]}', b'{"rows": [{"who": {"a": 1}}]}', b'{"rows": [{"who": "\\ud800"}]}',
        b'{"rows": [{"who": []}]}', b'{"rows": [{"who": 1e999}]}', b"[" * 200_000,
        b'{"rows": [{"who": ' + b"[" * 100_000,
        rows("x" * (MOST_UNIT_BYTES + 1)), rows("ü" * 129),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_nobody(body):
    assert reader()({}, body, ROWS) == ""
    assert reader()({}, body, INFER) == ""


@pytest.mark.parametrize("length", [b"x", b"-5", b"999999999", b"0", b""])
def test_a_wrong_length_of_the_head_is_nobody(length):
    _, body = binary(np.array(["ann"], object), "BYTES")
    assert reader()({LENGTH: length}, body, INFER) == ""


def test_binary_that_ends_too_early_is_nobody_or_what_is_there():
    headers, body = binary(np.array(["ann"], object), "BYTES")
    read = reader()
    assert read(headers, body[:-3], INFER) == ""
    headers, body = binary(np.array([5], np.int64), "INT64")
    assert read(headers, body[:-1], INFER) == ""


@given(st.binary(max_size=200), st.sampled_from([ROWS, INFER]), st.sampled_from([None, b"10", b"-1", b"\xb2"]))
def test_no_body_raises(body, form, length):
    headers = {} if length is None else {LENGTH: length}
    assert isinstance(reader()(headers, body, form), str)


def test_a_field_that_is_no_input_is_nobody_and_the_first_signature_that_has_it_counts():
    unit = Unit(field="who")
    text, number = (
        Signature(inputs=(Field(name=name, datatype=kind, shape=(-1,)),), outputs=(), layout="tensors")
        for name, kind in (("age", "BYTES"), ("who", "FP32"))
    )
    body = json.dumps({"rows": [{"who": 0.10000000149011612}]}).encode()
    assert unit_reader(unit)({}, body, ROWS) == unit_reader(unit, [text])({}, body, ROWS) == ""
    assert unit_reader(unit, [text, number])({}, body, ROWS) == "0.1"


def test_headers_and_cookies():
    header, cookie = unit_reader(Unit(header="X-User")), unit_reader(Unit(cookie="user"))
    assert header({b"x-user": "jürg".encode()}, b"", INFER) == "jürg"
    assert header({}, b"", INFER) == header({b"x-user": b"\xff"}, b"", INFER) == ""
    assert cookie({b"cookie": b"a=1;user=ann=2; user=bob"}, b"", INFER) == "ann=2"
    assert cookie({b"cookie": b"xuser=ann; User=bob; user"}, b"", INFER) == ""
    assert cookie({b"cookie": b"user=" + b"x" * 60_000 + b"; " + b";" * 60_000}, b"", INFER) == ""
    assert cookie({b"cookie": b"=;" * 60_000 + b"user=ann"}, b"", INFER) == "ann"
