"""Tensors to bytes and back, alone and in frames."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from penstock.core.errors import InvalidInput
from penstock.core.frames import decode_frame, encode_frame
from penstock.core.tensors import DTYPES, datatype_of, dtype_of, from_bytes, to_bytes

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TEXTS = st.one_of(st.text(max_size=8), st.binary(max_size=8), st.none())


@st.composite
def tensors(draw):
    datatype, shape = draw(st.sampled_from(sorted(DTYPES))), draw(SHAPES)
    if datatype != "BYTES":
        return draw(hnp.arrays(DTYPES[datatype], shape))
    count = math.prod(shape)
    out = np.empty(count, object)
    out[:] = draw(st.lists(TEXTS, min_size=count, max_size=count))
    return out.reshape(shape)


def same(one, two):
    """Equal datatype, shape and values; UTF-8 bytes come back as the text they are."""
    assert (datatype_of(one), one.shape) == (datatype_of(two), two.shape)
    if one.dtype.kind != "O":
        assert one.tobytes() == two.tobytes()
        return
    for sent, got in zip(one.ravel().tolist(), two.ravel().tolist(), strict=True):
        assert (sent.encode() if isinstance(sent, str) else sent) == (got.encode() if isinstance(got, str) else got)


@given(tensors())
def test_bytes_round_trip(array):
    same(array, from_bytes(to_bytes(array), datatype_of(array), array.shape, nulls=True))


@given(
    st.dictionaries(st.text(max_size=9), tensors(), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(-9, 9)),
)
def test_frames_round_trip(named, meta):
    got, got_meta = decode_frame(encode_frame(named, meta))
    assert got_meta == meta
    assert list(got) == list(named)
    for name, array in named.items():
        same(array, got[name])


@given(st.dictionaries(st.text(max_size=3), tensors(), min_size=1, max_size=3), st.data())
def test_a_cut_or_longer_frame_is_refused(named, data):
    whole = encode_frame(named)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for damaged in (cut, whole + b"\0"):
        with pytest.raises(InvalidInput):
            decode_frame(damaged)


@given(st.binary(max_size=64))
def test_no_bytes_make_a_frame_fail_in_another_way(data):
    with contextlib.suppress(InvalidInput):
        decode_frame(data)


@pytest.mark.parametrize(
    "header",
    [
        b'{"tensors":[{"name":"x","datatype":"FP32","shape":[-1],"size":4}],"meta":{}}',
        b'{"tensors":[{"name":"x","datatype":"FP32","shape":[1],"size":-4}],"meta":{}}',
        b'{"tensors":[{"name":"x","datatype":"FP99","shape":[1],"size":4}],"meta":{}}',
        b'{"tensors":[{"name":"x","datatype":"BYTES","shape":[-1],"size":4}],"meta":{}}',
        b'{"tensors":[{"name":"x","datatype":"BYTES","shape":[99999999999],"size":4}],"meta":{}}',
        b'{"tensors":[{"name":"x","datatype":"FP32","shape":[4294967296,4294967296],"size":4}],"meta":{}}',
    ],
)
def test_a_lying_frame_is_refused(header):
    with pytest.raises(InvalidInput):
        decode_frame(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")


def test_elements_of_bytes_must_end_where_the_data_ends():
    for data, count in ((b"\x05\0\0\0abc", 1), (b"\x01\0\0\0a", 2), (b"\x01\0\0\0ab", 1), (b"\x01\0", 1), (b"", 1)):
        with pytest.raises(InvalidInput) as refusal:
            from_bytes(data, "BYTES", [count])
        assert refusal.value.code == "wrong-binary-size"


def test_a_missing_value_does_not_exist_on_the_wire():
    with pytest.raises(InvalidInput):
        from_bytes(b"\xff\xff\xff\xff", "BYTES", [1])


def test_a_boolean_byte_is_0_or_1():
    with pytest.raises(InvalidInput) as refusal:
        from_bytes(b"\0\2", "BOOL", [2])
    assert refusal.value.code == "invalid-value"


@pytest.mark.parametrize("name", ["FP8", "", "fp32", None, 3, [], "BF16"])
def test_unknown_datatypes(name):
    with pytest.raises(InvalidInput) as refusal:
        dtype_of(name)
    assert refusal.value.code == "unknown-datatype"


def test_arrays_without_a_datatype():
    with pytest.raises(InvalidInput):
        datatype_of(np.zeros(1, np.complex64))
    assert datatype_of(np.zeros(1, ">f4")) == "FP32"
    assert to_bytes(np.array([1], ">i4")) == b"\1\0\0\0"
