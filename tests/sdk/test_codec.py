"""What the client writes is what the node reads, and the other way round; and what the client itself refuses."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import penstock
from penstock.core.calls import Call
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, datatype_of
from penstock.protocols.oip.infer import InferCodec
from penstock.sdk.decode import decode_infer
from penstock.sdk.encode import encode_infer, json_of
from penstock.sdk.inputs import is_rows, tensor_of, tensors_of
from penstock.sdk.messages import Incoming

NUMBERS = [dtype for dtype in DTYPES.values() if dtype.kind != "O"]
SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)
TEXT = st.text(max_size=5).filter(lambda text: text.isprintable())


def numbers(dtype):
    finite = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return arrays.arrays(dtype, SHAPES, elements=arrays.from_dtype(dtype, **finite))


TENSORS = st.one_of(*[numbers(dtype) for dtype in NUMBERS], arrays.arrays(object, SHAPES, elements=TEXT))


def signature_of(tensors):
    fields = [
        Field(name=name, datatype=datatype_of(array), shape=array.shape, nullable=True)
        for name, array in tensors.items()
    ]
    return Signature(inputs=tuple(fields), outputs=tuple(fields), layout="tensors", batched=False)


def same(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tolist() == other.tolist()


@given(tensors=st.dictionaries(st.text(min_size=1, max_size=5), TENSORS, min_size=1, max_size=3))
def test_the_node_reads_exactly_what_was_given(tensors):
    outgoing = encode_infer("m", tensors, call_id="7")
    headers = {name.encode(): value.encode() for name, value in outgoing.headers.items()}
    call = InferCodec("m", "1", signature_of(tensors)).decode(outgoing.body, headers)
    assert call.id == "7"
    assert all(same(call.inputs[name], tensors[name]) for name in tensors)


@given(
    tensors=st.dictionaries(st.text(min_size=1, max_size=5), TENSORS, min_size=1, max_size=3),
    binary=st.booleans(),
)
def test_the_client_reads_exactly_what_was_answered(tensors, binary):
    call = Call({}, 1, id="7", binary=binary)
    body, lines = InferCodec("m", "1", signature_of(tensors)).encode(call, tensors)
    headers = dict(line.split(": ") for line in lines.decode().splitlines())
    found, document = decode_infer(Incoming(200, headers, body), "http://a")
    assert document.id == "7"
    assert list(found) == list(tensors)
    assert all(same(found[name], tensors[name]) for name in tensors)


@given(body=st.binary(max_size=80), length=st.text(max_size=4) | st.integers(-9, 99).map(str))
def test_a_damaged_answer_is_an_error_of_ours(body, length):
    with pytest.raises(penstock.Unavailable) as raised:
        decode_infer(Incoming(200, {"inference-header-content-length": length}, body), "http://a")
    assert raised.value.code == "unexpected-answer"


def test_answers_are_asked_for_as_bytes_because_json_has_one_null_for_nan_and_infinity():
    assert b'"binary_data_output":true' in encode_infer("m", {"x": np.zeros(1)}).body
    assert b'"outputs":[{"name":"y","parameters":{"binary_data":true}}]' in (
        encode_infer("m", {"x": np.zeros(1)}, outputs=["y"]).body
    )


def test_missing_text_travels_as_null_and_raw_bytes_as_they_are():
    assert b'"data":["a",null]' in encode_infer("m", {"t": tensor_of("t", ["a", None])}).body
    assert encode_infer("m", {"t": tensor_of("t", [b"\xff"])}).body.endswith(b"\x01\0\0\0\xff")


FRAMES = {
    "integers": (pd.Series([1, 2], dtype="Int64"), np.array([1, 2])),
    "integers with a gap": (pd.Series([1, None], dtype="Int64"), np.array([1, math.nan])),
    "floats with a gap": (pd.Series([1.5, None], dtype="Float64"), np.array([1.5, math.nan])),
    "booleans": (pd.Series([True, False], dtype="boolean"), np.array([True, False])),
    "text with a gap": (pd.Series(["a", None], dtype="string"), np.array(["a", None], object)),
    "new text with a gap": (pd.Series(["a", None], dtype="str"), np.array(["a", None], object)),
    "objects with a gap": (pd.Series(["a", math.nan], dtype=object), np.array(["a", None], object)),
    "text categories": (pd.Series(["a", None], dtype="category"), np.array(["a", None], object)),
    "number categories": (pd.Series([7, 8], dtype="category"), np.array([7, 8])),
    "single floats": (pd.Series([1, 2], dtype="float32"), np.array([1, 2], np.float32)),
}


@pytest.mark.parametrize(("series", "expected"), FRAMES.values(), ids=FRAMES)
def test_columns_of_a_frame(series, expected):
    found = tensors_of(pd.DataFrame({"c": series}))["c"]
    assert found.dtype == expected.dtype
    assert repr(found.tolist()) == repr(expected.tolist())


class OtherFrame:
    """Another library's frame: what polars has in common with pandas."""

    columns = ("a",)
    dtypes = (float,)

    def __getitem__(self, name):
        return np.array([1.0, 2.0])


def test_a_frame_of_another_library():
    assert tensors_of(OtherFrame())["a"].tolist() == [1.0, 2.0]


REFUSED = {
    "a list of lists": ([[1, 2]], "unsupported-data"),
    "rows and other things": ([{"a": 1}, 2], "unsupported-data"),
    "text": ("age=1", "unsupported-data"),
    "nothing": (None, "unsupported-data"),
    "a number": (7, "unsupported-data"),
    "one row": ({"a": 1}, "unsupported-column"),
    "dates": (pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "unsupported-column"),
    "complex": (np.array([1j]), "unsupported-column"),
    "records": (np.zeros(2, [("a", float)]), "unsupported-column"),
    "mixed": ({"a": ["x", 1, None]}, "unsupported-column"),
    "booleans with a gap": ({"a": [True, None]}, "unsupported-column"),
    "objects": ({"a": [object()]}, "unsupported-column"),
    "huge integers": ({"a": [2**70]}, "unsupported-column"),
    "large integers with a gap": ({"a": pd.Series([2**60, None], dtype="Int64")}, "unsupported-column"),
    "masked": (np.ma.array([1.0, 2.0], mask=[False, True]), "unsupported-column"),
    "bytes with a gap": ({"a": [b"\xff", None]}, "unsupported-column"),
    "numbered columns": (pd.DataFrame([[1.0, 2.0]]), "wrong-columns"),
    "one name twice": (pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "duplicate-input"),
}


@pytest.mark.parametrize(("data", "code"), REFUSED.values(), ids=REFUSED)
def test_data_that_cannot_be_carried_exactly_is_refused(data, code):
    assert not is_rows(data)
    with pytest.raises(penstock.InvalidInput) as raised:
        encode_infer("m", tensors_of(data))
    assert raised.value.code == code
    assert raised.value.hint or code != "unsupported-data"


@pytest.mark.parametrize("value", [math.inf, -math.inf, [1.0, math.inf], np.float64(math.inf), np.array([math.inf])])
def test_infinity_does_not_become_a_missing_value(value):
    with pytest.raises(penstock.InvalidInput) as raised:
        json_of({"rows": [{"a": None, "b": value}]})
    assert raised.value.code == "invalid-value"


def test_missing_values_in_rows_are_null():
    assert json_of({"rows": [{"a": math.nan, "b": None, "c": pd.NA}]}) == b'{"rows":[{"a":null,"b":null,"c":null}]}'


def test_a_value_json_does_not_know():
    with pytest.raises(penstock.InvalidInput) as raised:
        json_of({"rows": [{"a": object()}]})
    assert raised.value.code == "unsupported-data"


def test_a_prediction_without_predictions_says_what_there_is():
    prediction = penstock.Prediction(predictions=None, outputs={"boxes": []}, endpoint="m", version="1")
    with pytest.raises(penstock.Unsupported, match="it gives boxes"):
        len(prediction)
