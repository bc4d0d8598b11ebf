"""What a block was encoded from comes back, and what is no block is refused by name."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.predlog.blocks import assert_same, block, blocks

from penstock.core.errors import InvalidInput
from penstock.core.frames import decode_frame, encode_frame
from penstock.predlog.record import decode_block, encode_block


def changed(data, meta=None, **tensors):
    """The frame with other tensors (None: without) and other meta."""
    old_tensors, old_meta = decode_frame(data)
    merged = {**old_tensors, **tensors}
    return encode_frame({k: v for k, v in merged.items() if v is not None}, {**old_meta, **(meta or {})})


@given(blocks())
def test_a_block_comes_back_as_it_was(given_block):
    assert_same(decode_block(encode_block(given_block)), given_block)


def test_text_is_stored_by_its_distinct_values():
    cities = np.array(["Basel", "Bern", None, "Basel"] * 1000, object)
    written = block(ids=["a"], rows=[4000], inputs={"city": cities}, outputs={})
    data = encode_block(written)
    assert len(data) < 6_000
    assert_same(decode_block(data), written)


@pytest.mark.parametrize("count", [1, 256, 257, 65_536, 65_537])
def test_any_number_of_distinct_values(count):
    values = np.array([f"v{i}" for i in range(count)], object)
    read = decode_block(encode_block(block(ids=["a"], rows=[count], inputs={"v": values}, outputs={})))
    assert read.inputs["v"].tolist() == values.tolist()


def test_values_that_are_equal_and_not_the_same_text():
    values = np.array([1, 1.0, True, "1", None], object)
    read = decode_block(encode_block(block(ids=["a"], rows=[5], inputs={"v": values}, outputs={})))
    assert read.inputs["v"].tolist() == ["1", "1.0", "True", "1", None]


def test_fixed_width_text_is_text():
    read = decode_block(encode_block(block(outputs={"y": np.array(["yes", "no", "no"])})))
    assert read.outputs["y"].tolist() == ["yes", "no", "no"]


def test_failed_calls_have_no_fields_and_may_say_rows():
    failed = block(inputs={}, outputs={}, codes=["overloaded", "wrong-shape"], status=np.array([429, 400], np.int16))
    read = decode_block(encode_block(failed))
    assert_same(read, failed)
    assert len(read) == 2


@pytest.mark.parametrize("ids", [["a\nb", "c"], []])
def test_ids_that_could_not_be_told_apart(ids):
    with pytest.raises(InvalidInput) as refused:
        encode_block(block(ids=ids, rows=[1] * len(ids)))
    assert refused.value.code == "invalid-record"


def test_a_newer_format_is_refused_by_name():
    with pytest.raises(InvalidInput) as refused:
        decode_block(changed(encode_block(block()), {"format": 2, "something": "new"}))
    assert refused.value.code == "newer-format"


@pytest.mark.parametrize(
    ("meta", "tensors"),
    [
        ({"endpoint": 7}, {}),
        ({"format": "1"}, {}),
        ({"words": {}}, {}),
        ({"words": {"code": [], "reason": [""], "subject": [""]}}, {}),
        ({"policy": {"inputs/x": "shred"}}, {}),
        ({}, {"time_us": None}),
        ({}, {"rows": np.array([1, 1], np.int32)}),
        ({}, {"rows": np.array([-1, 4], np.int32)}),
        ({}, {"rows": np.array([1.0, 2.0])}),
        ({}, {"status": np.array([200], np.int16)}),
        ({}, {"latency_us": np.ones((2, 1), np.int64)}),
        ({}, {"id": np.frombuffer(b"a\nb\nc", np.uint8)}),
        ({}, {"id": np.frombuffer(b"\xff\n\xff", np.uint8)}),
        ({}, {"unit": np.array([1], np.uint64)}),
        ({}, {"unit": np.array([1, 2])}),
        ({}, {"index/inputs/x": np.array([0, 1, 9], np.uint8)}),
        ({}, {"index/reason": np.array([0, 9], np.uint8)}),
        ({}, {"outputs/y": np.int64(3) * np.ones((), np.int64)}),
    ],
)
def test_columns_that_do_not_belong_together(meta, tensors):
    with pytest.raises(InvalidInput) as refused:
        decode_block(changed(encode_block(block()), meta, **tensors))
    assert refused.value.code in ("damaged-block", "damaged-frame")


@given(st.binary(max_size=200))
def test_bytes_that_are_no_block(data):
    with pytest.raises(InvalidInput):
        decode_block(data)


@given(st.data())
def test_a_block_with_other_bytes_is_read_or_refused(data):
    """Checksums catch damage before this is reached; whoever wrote it, nothing but InvalidInput comes out."""
    frame = bytearray(encode_block(block()))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = decode_block(bytes(frame))
    except InvalidInput:
        return
    assert len(read.ids) == len(read.time_us) == len(read.rows)


def test_units_take_room_only_where_there_are_any():
    for units in (None, np.zeros(2, np.uint64)):
        frame = encode_block(block(units=units))
        assert "unit" not in decode_frame(frame)[0]
        assert decode_block(frame).units is None
    assert decode_block(encode_block(block(units=np.array([0, 7], np.uint64)))).units.tolist() == [0, 7]


def test_meta_says_what_the_page_says():
    _, meta = decode_frame(encode_block(block(policy={"inputs/city": "hash"})))
    assert set(meta) == {"format", "endpoint", "arm", "version", "bundle", "words", "policy"}
    assert msgspec.json.decode(msgspec.json.encode(meta)) == meta
