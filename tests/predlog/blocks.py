"""Blocks for tests of the log, and what is equal about two of them."""

import math

import numpy as np
from hypothesis import strategies as st

from penstock.core.tensors import DTYPES
from penstock.predlog.record import Block

COLUMNS = ("time_us", "rows", "latency_us", "status", "units")
TEXTS = ("ids", "codes", "reasons", "subjects")


def block(ids=("a", "b"), rows=(1, 2), inputs=None, outputs=None, **changed):
    """A block of small records; by default one input `x` of two columns and one output `y`."""
    count, total = len(ids), sum(rows)
    columns = {
        "endpoint": "churn", "arm": "main", "version": "churn/7", "bundle": "sha256:" + "0" * 64, "ids": list(ids),
        "time_us": np.arange(count, dtype=np.int64) + 1_700_000_000_000_000, "rows": np.array(rows, np.int32),
        "latency_us": np.full(count, 900, np.int64), "status": np.full(count, 200, np.int16),
        "codes": [""] * count, "reasons": ["only-arm"] * count, "subjects": [""] * count,
        "inputs": {"x": np.arange(2 * total, dtype=np.float32).reshape(total, 2)} if inputs is None else inputs,
        "outputs": {"y": np.arange(total)} if outputs is None else outputs,
        "units": np.arange(2**64 - count, 2**64, dtype=np.uint64),
    }  # fmt: skip
    return Block(**{**columns, **changed})


def assert_same(got, expected):
    """Equal in every column, dtypes included."""
    for name in ("endpoint", "arm", "version", "bundle", "policy"):
        assert getattr(got, name) == getattr(expected, name)
    for name in TEXTS:
        assert list(getattr(got, name)) == list(getattr(expected, name))
    for name in COLUMNS:
        assert_equal_arrays(getattr(got, name), getattr(expected, name))
    for kind in ("inputs", "outputs"):
        fields, wanted = getattr(got, kind), getattr(expected, kind)
        assert list(fields) == list(wanted)
        for name, array in wanted.items():
            assert_equal_arrays(fields[name], array)


def assert_equal_arrays(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    if got.dtype.kind == "O":
        assert got.tolist() == expected.tolist()
    else:
        assert got.tobytes() == expected.tobytes()


_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), min_size=1, max_size=12)


@st.composite
def _fields(draw, rows):
    names = draw(st.lists(_text, max_size=3, unique=True))
    return {name: draw(_array(rows)) for name in names}


@st.composite
def _array(draw, rows):
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    shape = (rows, *draw(st.lists(st.integers(1, 3), max_size=2)))
    size = math.prod(shape)
    if datatype == "BYTES":
        # Bytes that are text come back as text.
        element = st.none() | _text | st.binary(max_size=4).map(lambda data: b"\xff" + data)
        out = np.empty(size, object)
        out[:] = draw(st.lists(element, min_size=size, max_size=size))
        return out.reshape(shape)
    if datatype == "BOOL":
        return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_).reshape(shape)
    dtype = DTYPES[datatype]
    data = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
    return np.frombuffer(data, dtype).reshape(shape)


@st.composite
def blocks(draw):
    """Any block that a node could write, and many that it could not."""
    rows = draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    count = len(rows)

    def column(element):
        return draw(st.lists(element, min_size=count, max_size=count))

    long, short = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**15), 2**15 - 1)
    return block(
        ids=column(_ids), rows=rows, codes=column(_text), reasons=column(_text), subjects=column(_text),
        time_us=np.array(column(long), np.int64), latency_us=np.array(column(long), np.int64),
        status=np.array(column(short), np.int16), inputs=draw(_fields(sum(rows))), outputs=draw(_fields(sum(rows))),
        units=np.array(column(st.integers(1, 2**64 - 1)), np.uint64),
        policy=draw(st.dictionaries(_text, st.sampled_from(["keep", "drop", "hash"]), max_size=2)),
        endpoint=draw(_text), version=draw(_text),
    )  # fmt: skip
