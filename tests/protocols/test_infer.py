"""Infer requests and responses: bytes to a call and back, JSON and binary, and every lie about sizes."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.bundles import some

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, to_bytes
from penstock.protocols.oip.infer import LENGTH_HEADER, InferCodec

TWO = Signature(
    inputs=(Field(name="a", datatype="FP32", shape=(-1,)), Field(name="b", datatype="INT64", shape=(-1, 2))),
    outputs=(Field(name="p", datatype="FP32", shape=(-1,)), Field(name="q", datatype="BYTES", shape=(-1,))),
    layout="tensors",
)
CODEC = InferCodec("m", "7", TWO)
A = {"name": "a", "shape": [2], "datatype": "FP32", "data": [1.5, 2.5]}
B = {"name": "b", "shape": [2, 2], "datatype": "INT64", "data": [1, 2, 3, 4]}
OUTPUTS = {"p": np.array([1.0, 2.0], np.float32), "q": np.array(["x", "y"], object)}


def identity(datatype, shape=(-1, 2)):
    field = Field(name="x", datatype=datatype, shape=shape)
    output = Field(name="y", datatype=datatype, shape=shape)
    batched = shape[:1] == (-1,)
    return InferCodec("same", "1", Signature(inputs=(field,), outputs=(output,), layout="tensors", batched=batched))


def length_of(length):
    return {} if length is None else {LENGTH_HEADER: str(length).encode()}


RAW_MODE = length_of(0)


def decode(document, binary=b"", codec=CODEC, length=None):
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    if length is None and binary:
        length = len(head)
    return codec.decode(head + binary, length_of(length))


def code_of(document, binary=b"", codec=CODEC, length=None):
    with pytest.raises(InvalidInput) as refusal:
        decode(document, binary, codec, length)
    return refusal.value.code


def binary_length(lines):
    said = dict(line.split(b": ") for line in lines.splitlines())
    assert said[b"content-type"] == (b"application/octet-stream" if LENGTH_HEADER in said else b"application/json")
    return int(said.get(LENGTH_HEADER, 0))


def answered(call, codec=CODEC, outputs=None):
    body, lines = codec.encode(call, outputs or OUTPUTS)
    length = binary_length(lines)
    head = json.loads(body[: length or None])
    return head, body[length:] if length else b""


# ---- requests


def test_a_call():
    call = decode({"inputs": [B, A], "id": "seven", "parameters": {"depth": 3, "fast": True, "how": "so", "x": 1.5}})
    assert call.rows == 2
    assert call.inputs["a"].tolist() == [1.5, 2.5]
    assert call.inputs["b"].tolist() == [[1, 2], [3, 4]]
    assert call.id == "seven"
    assert call.parameters == {"depth": 3, "fast": True, "how": "so", "x": 1.5}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "invalid-json"),
        (b"{", "invalid-json"),
        (b"[]", "invalid-json"),
        (b"null", "invalid-json"),
        (b"\xff\xfe", "invalid-json"),
        (b'{"inputs": "\xff"}', "invalid-json"),
        (b"{" * 500_000, "invalid-json"),
        (b'{"inputs":' * 100_000, "invalid-json"),
        (b'{"inputs":[{"name":"a","shape":' + b"[" * 500_000, "invalid-json"),
        (b'{"unknown":' + b"[" * 500_000 + b"]" * 500_000 + b',"inputs":[]}', "invalid-json"),
        ({}, "invalid-json"),
        ({"inputs": None}, "invalid-json"),
        ({"inputs": []}, "wrong-inputs"),
        ({"inputs": [A]}, "wrong-inputs"),
        ({"inputs": [A, B, {**A, "name": "c"}]}, "wrong-inputs"),
        ({"inputs": [A, {**B, "name": "c"}]}, "wrong-inputs"),
        ({"inputs": [A, A]}, "duplicate-input"),
        ({"inputs": [A, B, A]}, "duplicate-input"),
        ({"inputs": [{**A, "datatype": "FP8"}, B]}, "unknown-datatype"),
        ({"inputs": [{**A, "datatype": "FP16"}, {**B, "datatype": "FP64"}]}, "wrong-datatype"),
        ({"inputs": [{**A, "shape": []}, B]}, "wrong-count"),
        ({"inputs": [{**A, "shape": [], "data": [1]}, B]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": [-2]}, B]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": [-1]}, B]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": [2.5]}, B]}, "invalid-json"),
        ({"inputs": [{**A, "shape": [10**30]}, B]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": "2"}, B]}, "invalid-json"),
        ({"inputs": [{**A, "shape": [2, 1, 1]}, B]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": [1], "data": [1]}, B]}, "unequal-rows"),
        ({"inputs": [A, {**B, "shape": [4, 1]}]}, "wrong-shape"),
        ({"inputs": [{**A, "shape": [0], "data": []}, {**B, "shape": [0, 2], "data": []}]}, "empty-batch"),
        ({"inputs": [{"name": "a", "shape": [2], "datatype": "FP32"}, B]}, "missing-data"),
        ({"inputs": [{**A, "data": None}, B]}, "invalid-value"),
        ({"inputs": [{**A, "data": [1, None]}, B]}, "missing-value"),
        ({"inputs": [{**A, "data": [1, 1e39]}, B]}, "invalid-value"),
        ({"inputs": [{**A, "parameters": []}, B]}, "invalid-json"),
        ({"inputs": [{**A, "parameters": {"x": {}}}, B]}, "invalid-json"),
        ({"inputs": [A, B], "parameters": {"x": [1]}}, "invalid-json"),
        ({"inputs": [A, B], "parameters": {"x": None}}, "invalid-json"),
        ({"inputs": [A, B], "id": 7}, "invalid-json"),
        ({"inputs": [A, B], "outputs": [{"name": "r"}]}, "unknown-output"),
        ({"inputs": [A, B], "outputs": "p"}, "invalid-json"),
        ({"inputs": [A, B], "outputs": [{"name": "p"}, {"name": "p"}]}, "duplicate-output"),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_with_its_code(document, code):
    with np.errstate(over="ignore"):
        assert code_of(document) == code


@pytest.mark.parametrize(
    "twice",
    [
        ('"inputs":', '"inputs": [], "inputs":'),
        ('"name": "a"', '"name": "b", "name": "a"'),
        ('"shape": [2]', '"shape": [1], "shape": [2]'),
        ('"datatype": "FP32"', '"datatype": "FP64", "datatype": "FP32"'),
        ('"data": [1.5', '"data": [9.0, 9.0], "data": [1.5'),
        ('"id": "i"', '"id": "j", "id": "i"'),
        ('{"depth": 1}', '{"depth": 1, "depth": 2}'),
        ('{"name": "p"}', '{"name": "q", "name": "p"}'),
        ('"id": "i"', '"new": {"a": 1, "a": 2}, "id": "i"'),
        ('"id": "i"', '"n\\u0061me": 1, "name": 2, "id": "i"'),
    ],
)
def test_a_key_that_stands_twice_is_refused(twice):
    text = json.dumps({"id": "i", "parameters": {"depth": 1}, "inputs": [A, B], "outputs": [{"name": "p"}]})
    assert decode(text.encode()).id == "i"
    assert twice[0] in text
    assert code_of(text.replace(*twice, 1).encode()) == "duplicate-key"


def test_colons_and_unknown_keys_are_no_duplicates():
    assert decode({"inputs": [A, B], "id": "a:b:c", "new": {"x": {"x": 1}}}).id == "a:b:c"


# ---- binary


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_every_datatype_there_and_back(datatype, binary_in, binary_out):
    codec, values = identity(datatype), some(datatype, (3, 2))
    tensor = {"name": "x", "shape": [3, 2], "datatype": datatype}
    raw = to_bytes(values) if binary_in else b""
    if binary_in:
        tensor["parameters"] = {"binary_data_size": len(raw)}
    else:
        tensor["data"] = values.ravel().tolist()
    document = {"inputs": [tensor], "parameters": {"binary_data_output": binary_out}}
    with np.errstate(over="ignore"):
        call = decode(document, raw, codec)
    assert call.inputs["x"].dtype == DTYPES[datatype]
    assert call.inputs["x"].tolist() == values.tolist()
    head, rest = answered(call, codec, {"y": call.inputs["x"]})
    (output,) = head["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", datatype, [3, 2])
    if binary_out:
        assert rest == to_bytes(values)
        assert output["parameters"] == {"binary_data_size": len(rest)}
        assert "data" not in output
    else:
        assert output["data"] == values.ravel().tolist()


def test_json_and_binary_inputs_mix_in_any_order():
    raw = to_bytes(np.array([[1, 2], [3, 4]], np.int64))
    b = {"name": "b", "shape": [2, 2], "datatype": "INT64", "parameters": {"binary_data_size": len(raw)}}
    for inputs in ([A, b], [b, A]):
        call = decode({"inputs": inputs}, raw)
        assert call.inputs["b"].tolist() == [[1, 2], [3, 4]]
        assert call.inputs["a"].tolist() == [1.5, 2.5]


RAW = to_bytes(np.array([1.5, 2.5], np.float32))


@pytest.mark.parametrize(
    ("size", "raw", "code"),
    [
        (8, RAW[:7], "wrong-binary-size"),
        (8, RAW + b"\0", "wrong-binary-size"),
        (7, RAW, "wrong-binary-size"),
        (9, RAW, "wrong-binary-size"),
        (4, RAW, "wrong-binary-size"),
        (0, RAW, "wrong-binary-size"),
        (-8, RAW, "wrong-binary-size"),
        (2**62, RAW, "wrong-binary-size"),
        (8.0, RAW, "wrong-binary-size"),
        ("8", RAW, "wrong-binary-size"),
        (True, RAW, "wrong-binary-size"),
    ],
)
def test_sizes_that_lie(size, raw, code):
    a = {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    assert code_of({"inputs": [a, B]}, raw) == code


def test_binary_data_without_the_header():
    a = {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    assert code_of(json.dumps({"inputs": [a, B]}).encode() + RAW) == "invalid-json"
    assert code_of({"inputs": [a, B]}) == "wrong-binary-size"


def test_data_and_binary_size_together():
    assert code_of({"inputs": [{**A, "parameters": {"binary_data_size": 8}}, B]}, RAW) == "invalid-value"


def test_bytes_after_a_json_request():
    assert code_of({"inputs": [A, B]}, b"more") == "wrong-binary-size"


def test_shapes_that_lie_about_binary_data():
    for shape, code in (
        ([-1], "wrong-shape"),
        ([3], "wrong-binary-size"),
        ([2**50], "wrong-shape"),
        ([], "wrong-binary-size"),
    ):
        a = {"name": "a", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": 8}}
        assert code_of({"inputs": [a, B]}, RAW) == code


@pytest.mark.parametrize("length", [-1, 1, 10**11])
def test_header_lengths_that_lie(length):
    document = json.dumps({"inputs": [A, B]}).encode()
    length = len(document) + 1 if length == -1 else length
    assert code_of(document, length=length) in ("wrong-header-length", "invalid-json")


def test_not_a_number_in_binary_data_is_a_missing_value():
    raw = to_bytes(np.array([1, np.nan], np.float32))
    a = {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    assert code_of({"inputs": [a, B]}, raw) == "missing-value"


def test_text_that_is_not_utf8():
    raw = to_bytes(np.array([b"\xff", "ok"], object))
    tensor = {"name": "x", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    assert code_of({"inputs": [tensor]}, raw, identity("BYTES")) == "not-text"
    for cut in (raw[:-1], raw + b"\0", b"\xff\xff\xff\xff" + raw[4:]):
        lying = {**tensor, "parameters": {"binary_data_size": len(cut)}}
        assert code_of({"inputs": [lying]}, cut, identity("BYTES")) == "wrong-binary-size"


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BOOL"])
def test_a_raw_body_is_one_row(datatype):
    values = some(datatype, (1, 2))
    call = identity(datatype).decode(to_bytes(values), RAW_MODE)
    assert call.inputs["x"].tolist() == values.tolist()
    assert call.binary is True


def test_a_raw_body_tells_the_one_dimension_that_varies():
    call = identity("FP32", (-1, -1)).decode(RAW, RAW_MODE)
    assert call.inputs["x"].shape == (1, 2)
    assert identity("FP32", (2, 3)).decode(bytes(24), RAW_MODE).inputs["x"].shape == (2, 3)


def test_raw_bodies_that_do_not_fit():
    for codec, body, code in (
        (CODEC, RAW, "raw-mode"),
        (identity("FP32", (-1, -1, -1)), RAW, "raw-mode"),
        (identity("BYTES", (-1, -1)), RAW, "raw-mode"),
        (identity("FP32"), RAW[:-1], "wrong-binary-size"),
        (identity("FP32"), b"", "wrong-binary-size"),
        (identity("FP32", (-1, -1)), RAW[:-1], "wrong-binary-size"),
        (identity("FP32", (-1, -1)), b"", "empty-batch"),
    ):
        with pytest.raises(InvalidInput) as refusal:
            codec.decode(body, RAW_MODE)
        assert refusal.value.code == code


# ---- responses


def test_id_is_echoed_when_given_and_absent_otherwise():
    assert answered(decode({"inputs": [A, B], "id": 'q"\n'}))[0]["id"] == 'q"\n'
    assert answered(decode({"inputs": [A, B], "id": ""}))[0]["id"] == ""
    head = answered(decode({"inputs": [A, B]}))[0]
    assert "id" not in head
    assert (head["model_name"], head["model_version"]) == ("m", "7")


def test_requested_outputs_and_their_order():
    both = decode({"inputs": [A, B], "outputs": [{"name": "q"}, {"name": "p"}]})
    assert [output["name"] for output in answered(both)[0]["outputs"]] == ["q", "p"]
    one = decode({"inputs": [A, B], "outputs": [{"name": "p", "parameters": {}}]})
    assert [output["name"] for output in answered(one)[0]["outputs"]] == ["p"]
    everything = decode({"inputs": [A, B], "outputs": []})
    assert [output["name"] for output in answered(everything)[0]["outputs"]] == ["p", "q"]


@given(whole=st.none() | st.booleans(), p=st.none() | st.booleans(), q=st.none() | st.booleans())
def test_binary_data_overrides_binary_data_output(whole, p, q):
    document = {"inputs": [A, B], "outputs": [
        {"name": name, **({"parameters": {"binary_data": said}} if said is not None else {})}
        for name, said in (("p", p), ("q", q))
    ]}  # fmt: skip
    if whole is not None:
        document["parameters"] = {"binary_data_output": whole}
    head, rest = answered(decode(document))
    expected = b""
    for output, said in zip(head["outputs"], (p, q), strict=True):
        binary = bool(whole) if said is None else said
        assert ("data" not in output) is binary
        if binary:
            expected += to_bytes(OUTPUTS[output["name"]])
    assert rest == expected


@pytest.mark.parametrize("said", [1, "true", 0.0])
def test_flags_are_booleans(said):
    assert code_of({"inputs": [A, B], "parameters": {"binary_data_output": said}}) == "invalid-value"
    requested = [{"name": "p", "parameters": {"binary_data": said}}]
    assert code_of({"inputs": [A, B], "outputs": requested}) == "invalid-value"


def test_outputs_that_are_not_finite_or_not_text():
    call = decode({"inputs": [A, B]})
    head, _ = answered(call, outputs={"p": np.array([np.nan, np.inf], np.float32), "q": OUTPUTS["q"]})
    assert head["outputs"][0]["data"] == [None, None]
    with pytest.raises(PenstockError) as refusal:
        CODEC.encode(call, {"p": OUTPUTS["p"], "q": np.array([b"\xff", "a"], object)})
    assert refusal.value.code == "not-text"


def test_many_shapes_do_not_fill_the_memory():
    codec = identity("FP32", (-1, -1))
    for columns in range(1, 3000):
        call = decode(
            {"inputs": [{"name": "x", "shape": [1, columns], "datatype": "FP32", "data": [0] * columns}]}, codec=codec
        )
        assert answered(call, codec, {"y": call.inputs["x"]})[0]["outputs"][0]["shape"] == [1, columns]
    assert len(codec._forms) <= 1024


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_no_bytes_make_decoding_fail_in_another_way(body, length):
    with contextlib.suppress(InvalidInput):
        CODEC.decode(body, length_of(length))


WHOLE = json.dumps({"id": "i", "parameters": {"depth": 1}, "inputs": [A, B], "outputs": [{"name": "p"}]}).encode()


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_no_change_to_a_good_request_makes_decoding_fail_in_another_way(at, new, cut):
    try:
        with np.errstate(over="ignore"):
            call = CODEC.decode(WHOLE[:at] + new + WHOLE[at + cut :])
    except InvalidInput:
        return
    assert all(len(array) == call.rows for array in call.inputs.values())


@pytest.mark.parametrize("shape", [[0, 2**62], [2**62, 0], [2**30, 0, 2**30, 2**30]])
def test_an_empty_dimension_hides_no_other(shape):
    a = {"name": "a", "shape": shape, "datatype": "FP32", "data": []}
    assert code_of({"inputs": [a, B]}) == "wrong-shape"
    a = {"name": "a", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": 0}}
    assert code_of({"inputs": [a, B]}, b"", length=len(json.dumps({"inputs": [a, B]}))) == "wrong-shape"


def test_more_dimensions_than_anybody_has_are_refused():
    for a in ({"data": [1]}, {"parameters": {"binary_data_size": 4}}):
        tensor = {"name": "a", "shape": [1] * 101, "datatype": "FP32", **a}
        assert code_of({"inputs": [tensor, B]}, b"\0" * 4 if "parameters" in a else b"") == "wrong-shape"
