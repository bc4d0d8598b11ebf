"""One tensor's `data` from JSON text: exact where it can be, refused where it cannot, and one answer for both paths."""

import json
import math
from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.core.binding import Binder
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.protocols.oip.json_data import json_values, tensor_of_json, text_values
from penstock.protocols.oip.usual import usual_inputs

NUMERIC = sorted(set(DTYPES) - {"BOOL", "BYTES"})
INTEGERS = [name for name in NUMERIC if DTYPES[name].kind in "iu"]


def read(datatype, shape, data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    with np.errstate(over="ignore"):
        return tensor_of_json("x", datatype, shape, text)


def code_of(datatype, shape, data):
    with pytest.raises(InvalidInput) as refusal:
        read(datatype, shape, data)
    assert "'x'" in refusal.value.message or refusal.value.code == "unknown-datatype"
    return refusal.value.code


@st.composite
def nested(draw):
    """(datatype, shape, flat values that fit)."""
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
    kind, count = DTYPES[datatype].kind, math.prod(shape)
    if kind == "f":
        values = st.floats(allow_nan=False, allow_infinity=False, width={"FP16": 16, "FP32": 32, "FP64": 64}[datatype])
    elif kind in "iu":
        limits = np.iinfo(DTYPES[datatype])
        values = st.integers(int(limits.min), int(limits.max))
    else:
        values = st.booleans() if kind == "b" else st.text(max_size=5)
    return datatype, shape, draw(st.lists(values, min_size=count, max_size=count))


def nest(flat, shape):
    for size in reversed(shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)]
    return flat


@given(nested(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", ":")]))
def test_flat_and_nested_give_the_same_exact_values(case, separators):
    datatype, shape, flat = case
    one = read(datatype, shape, json.dumps(flat, separators=separators).encode())
    two = read(datatype, shape, json.dumps(nest(flat, shape), separators=separators).encode())
    assert one.dtype == two.dtype == DTYPES[datatype]
    assert one.shape == two.shape == tuple(shape)
    assert one.ravel().tolist() == two.ravel().tolist() == flat


@pytest.mark.parametrize(
    "data",
    [[[1, 2], [3]], [[1, 2], 3, 4], [[1, 2], [3, [4]]], [[1], [2, 3, 4]], [[[1, 2], [3, 4]]], [[1, 2, 3, 4]],
     [[1, 2], [3, 4], []], [[], [1, 2, 3, 4]], [1, 2, [3, 4]], [[[1], [2]], [[3], [4]]]],
)  # fmt: skip
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "UINT8", "BYTES"])
def test_ragged_nesting(datatype, data):
    if datatype == "BYTES":
        data = json.loads(json.dumps(data), parse_int=str)
    assert code_of(datatype, [2, 2], data) in ("wrong-shape", "wrong-count")


@pytest.mark.parametrize(
    "text", [b"[[1,2],[3,4]", b"[1,2,3,4", b"[1,2,,4]", b"[1 2 3 4]", b"[[1,2][3,4]]", b"[1,2,3,4]]"]
)
def test_broken_text(text):
    assert code_of("FP32", [2, 2], text) == "invalid-json"


@pytest.mark.parametrize("datatype", sorted(DTYPES))
@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_wrong_count(datatype, count):
    value = "1" if datatype == "BYTES" else 1
    assert code_of(datatype, [2, 2], [value] * count) == "wrong-count"


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_keep_every_bit_and_overflow_is_refused(datatype):
    limits = np.iinfo(DTYPES[datatype])
    low, high = int(limits.min), int(limits.max)
    assert read(datatype, [3], [low, high, 1]).tolist() == [low, high, 1]
    for beyond in (low - 1, high + 1, 2**70, -(2**70), 10**400):
        assert code_of(datatype, [2], [1, beyond]) in ("invalid-value", "invalid-json")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5))
def test_int64_beyond_2_53_is_exact(values):
    assert read("INT64", [len(values)], values).tolist() == values


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("value", [1.5, 1e3, "1", None, True, [1], {}])
def test_what_is_no_integer(datatype, value):
    text = json.dumps([1, value]).encode() if value != 1e3 else b"[1, 1e3]"
    assert code_of(datatype, [2], text) in ("invalid-value", "wrong-shape")


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_floats(datatype):
    assert read(datatype, [3], [1, 2.5, -3]).tolist() == [1.0, 2.5, -3.0]
    assert math.isnan(read(datatype, [2], [None, 1]).tolist()[0])
    for value in ("1", True, [1.0], {}):
        assert code_of(datatype, [2], [1.0, value]) in ("invalid-value", "wrong-shape")


@pytest.mark.parametrize(("datatype", "value"), [("FP16", 70_000.0), ("FP32", 1e39)])
def test_a_float_beyond_the_datatype_is_infinite_and_so_refused_by_the_binder(datatype, value):
    array = read(datatype, [2], [1.0, value])
    assert array.tolist() == [1.0, math.inf]
    field = Field(name="x", datatype=datatype, shape=(-1,))
    with pytest.raises(InvalidInput) as refusal, np.errstate(over="ignore"):
        Binder(Signature(inputs=(field,), outputs=(), layout="tensors"))({"x": array})
    assert refusal.value.code == "invalid-value"


@pytest.mark.parametrize(
    "token", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"nan", b"01", b"+1", b".5", b"1."]
)
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "BOOL", "BYTES"])
def test_tokens_that_are_no_json_numbers(datatype, token):
    assert code_of(datatype, [2], b"[1.0," + token + b"]") in ("invalid-json", "invalid-value")


def test_booleans():
    assert read("BOOL", [4], [True, False, 0, 1]).tolist() == [True, False, False, True]
    for value in (2, -1, 1.0, "true", None):
        assert code_of("BOOL", [2], [True, value]) == "invalid-value"


def test_text():
    assert read("BYTES", [3], ["a", "", "ü\u0000"]).tolist() == ["a", "", "ü\0"]
    assert read("BYTES", [2], ["a", None]).tolist() == ["a", None]
    for value in (1, True, 1.5, {}):
        assert code_of("BYTES", [2], ["a", value]) == "invalid-value"
    for text in (b'["a","\xff"]', b'["a","\\ud800"]', b'["a","\x01"]', b'["a","\\x"]'):
        assert code_of("BYTES", [2], text) == "invalid-json"


@pytest.mark.parametrize("text", [b"5", b'"abc"', b"{}", b"null", b"true", b'{"0": 1}'])
def test_data_that_is_no_list(text):
    for datatype in ("FP32", "INT64", "BOOL", "BYTES"):
        assert code_of(datatype, [1], text) == "invalid-value"


@pytest.mark.parametrize("shape", [[-1], [2, -2], [-(2**62), -(2**62)], [2**40, 2**40], [2**62, 4]])
def test_shapes_no_message_has(shape):
    assert code_of("FP32", shape, [1, 2]) == "wrong-shape"


def test_data_that_is_missing():
    assert code_of("FP32", [1], b"") == "missing-data"


def test_a_scalar():
    assert read("FP32", [], [5]).shape == ()
    assert code_of("FP32", [], [[5]]) in ("wrong-shape", "wrong-count")


@pytest.mark.parametrize("datatype", ["FP32", "INT64", "BYTES", "BOOL"])
def test_deep_nesting(datatype):
    for text in (b"[" * 500_000 + b"]" * 500_000, b"[" * 500_000):
        assert code_of(datatype, [1], text) in ("invalid-json", "wrong-shape")


def test_outputs():
    assert json_values(np.array([[1, 2], [3, 4]])) == [1, 2, 3, 4]
    assert msgspec.json.encode(json_values(np.array([np.nan, np.inf, 1.0]))) == b"[null,null,1.0]"
    assert text_values("y", np.array(["a", "b"], object)) == ["a", "b"]
    with pytest.raises(InvalidInput) as refusal:
        text_values("y", np.array([b"\xff"], object))
    assert refusal.value.code == "not-text"


# ---- the usual path accepts only what the general path accepts, with the same values

VALUES = st.one_of(
    st.integers(-3, 3), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.none(), st.booleans(),
    st.text(max_size=2), st.just([1]), st.just({"a": 1}), st.sampled_from([1e39, 70000.0, 2**53 + 1, 2**63, 2**64 - 1]),
)  # fmt: skip


@given(
    field=st.sampled_from([(-1,), (-1, 2), (-1, 1), (-1, 2, 1)]),
    datatype=st.sampled_from(["FP32", "FP64", "INT64", "UINT64"]),
    said=st.sampled_from(["FP32", "FP64", "INT64", "UINT64", "BYTES", "FP99"]) | st.none(),
    shape=st.lists(st.integers(-2, 4), max_size=4) | st.none(),
    data=st.lists(VALUES, max_size=6),
    rows=st.integers(0, 3),
)
@example(field=(-1,), datatype="FP32", said=None, shape=[], data=[5.0], rows=1)
@example(field=(-1,), datatype="INT64", said=None, shape=[1], data=[1.0], rows=1)
@example(field=(-1,), datatype="UINT64", said=None, shape=[1], data=[-1], rows=1)
@example(field=(-1,), datatype="FP32", said=None, shape=[1], data=[{"a": 1}], rows=1)
def test_the_usual_path_agrees_with_the_general_one(field, datatype, said, shape, data, rows):
    signature = Field(name="x", datatype=datatype, shape=field)
    said = said or datatype
    shape = [rows, *field[1:]] if shape is None else shape
    text = json.dumps(data).encode()
    with np.errstate(over="ignore"):
        usual = usual_inputs([signature])["x"].read(said, shape, text)
        try:
            bound, _ = Binder(Signature(inputs=(signature,), outputs=(), layout="tensors"))(
                {"x": tensor_of_json("x", said, shape, text)}
            )
        except InvalidInput:
            assert usual is None
            return
    if usual is not None:
        assert usual.dtype == bound["x"].dtype
        assert usual.shape == bound["x"].shape
        assert usual.tobytes() == bound["x"].tobytes()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=8))
def test_the_usual_path_is_taken_for_usual_input(values):
    values = values[: len(values) // 2 * 2]
    reader = usual_inputs([Field(name="x", datatype="FP64", shape=(-1, 2))])["x"]
    got = reader.read("FP64", [len(values) // 2, 2], json.dumps(values).encode())
    if max(map(abs, values)) < 1e30:
        assert got is not None
        assert got.ravel().tolist() == values


def as_javascript(value):
    """A double as `JSON.stringify` writes it: the shortest digits, and no exponent below 1e21."""
    if not value.is_integer() or abs(value) >= 1e21:
        return repr(value)
    digits, exponent = (f"{Decimal(repr(abs(value))).normalize():e}").split("e")
    whole = digits.replace(".", "").ljust(int(exponent) + 1, "0")
    return f"{'-' if value < 0 else ''}{whole}"


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70).map(float))
@example(float(2**60))
@example(float(2**53 + 2))
@example(1e22)
def test_a_double_comes_back_whoever_wrote_it(value):
    """Hence a whole number beyond 2^53 is no mistake in a float's place: it is how others write one."""
    text = as_javascript(value)
    for data, shape in ((f"[{text}]", [1]), (f"[[{text}]]", [1, 1]), (f"[[[{text}]]]", [1, 1, 1])):
        assert read("FP64", shape, data.encode()).ravel().tolist() == [value]
    (usual,) = usual_inputs([Field(name="x", datatype="FP64", shape=(-1,))]).values()
    with np.errstate(over="ignore"):
        got = usual.read("FP64", [1], f"[{text}]".encode())
    assert got is None or got.tolist() == [value]


@given(st.integers(-(2**80), 2**80))
@example(2**53 + 1)
@example(2**63)
@example(2**64 + 1)
def test_a_whole_number_for_a_float_is_the_nearest_one_on_every_path(number):
    nearest = [float(number)]
    text = str(number).encode()
    assert read("FP64", [1], b"[" + text + b"]").tolist() == nearest
    assert read("FP64", [1, 1, 1], b"[[[" + text + b"]]]").ravel().tolist() == nearest
    (usual,) = usual_inputs([Field(name="x", datatype="FP64", shape=(-1,))]).values()
    assert (got := usual.read("FP64", [1], b"[" + text + b"]")) is None or got.tolist() == nearest
