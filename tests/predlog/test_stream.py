"""From calls to blocks: rules for fields, samples, forms that do not join, and memory that has an end."""

import asyncio
import itertools
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.predlog.blocks import assert_equal_arrays

from penstock.core.calls import Call
from penstock.core.clock import monotonic
from penstock.core.routes import Arm, Recording
from penstock.core.signature import Field, Signature
from penstock.predlog.recorder import Recorder
from penstock.predlog.segment import list_segments, read_segment
from penstock.predlog.stream import _SPACE, policies, sampled
from penstock.predlog.writer import RecordingLimits
from penstock.security.redaction import hashed, load_salt

ARM = Arm(name="main", version="churn/7", bundle="sha256:" + "0" * 64, uri="", weight=10_000)
X = Field(name="x", datatype="FP32", shape=(-1, 2))
NAME = Field(name="name", datatype="BYTES", shape=(-1,), sensitive=True)
Y = Field(name="y", datatype="INT64", shape=(-1,))
PLAIN = Signature(inputs=(X,), outputs=(Y,), layout="tensors")
PEOPLE = Signature(inputs=(X, NAME), outputs=(Y,), layout="tensors")


class Log:
    """A recorder into a folder, driven by hand."""

    def __init__(self, home, clock=lambda: 1_700_000_000.0, **limits):
        self.home = home
        self.events = []
        self.recorder = Recorder(
            home / "log", home / "salt", 0, RecordingLimits(**limits),
            lambda name, **fields: self.events.append((name, fields)), clock,
        )  # fmt: skip
        self._ids = itertools.count()

    def stream(self, signature=PLAIN, **rules):
        return self.recorder.stream("churn", ARM, signature, Recording(**rules))

    def add(self, stream, inputs, outputs, rows=1, status=200, *, code="", request_id=None, size=100, unit=7):
        stream.add(
            request_id or f"id-{next(self._ids)}", monotonic(), 0.001, status, code, "only-arm", "ann", unit, rows,
            Call(inputs, rows), outputs, size,
        )  # fmt: skip

    def blocks(self):
        """Everything written, when the recorder has ended."""

        async def write():
            task = asyncio.ensure_future(self.recorder.run())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.to_thread(self.recorder.close)

        asyncio.run(write())
        return [block for one in list_segments(self.home / "log") for _, block in read_segment(one.path)]


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path)


def x(*rows):
    return {"x": np.array(rows, np.float32).reshape(-1, 2)}


def y(*values):
    return {"y": np.array(values, np.int64)}


def test_calls_become_columns(log):
    stream = log.stream()
    log.add(stream, x([1, 2]), y(10))
    log.add(stream, x([3, 4], [5, 6]), y(20, 30), rows=2, unit=0)
    (block,) = log.blocks()
    assert (block.endpoint, block.arm, block.version, block.bundle) == ("churn", "main", "churn/7", ARM.bundle)
    assert block.ids == ["id-0", "id-1"]
    assert block.rows.tolist() == [1, 2]
    assert block.inputs["x"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert block.outputs["y"].tolist() == [10, 20, 30]
    assert block.status.tolist() == [200, 200]
    assert (block.reasons, block.subjects, block.codes) == (["only-arm"] * 2, ["ann"] * 2, ["", ""])
    assert block.latency_us.tolist() == [1000, 1000]
    assert block.units.tolist() == [7, 0]
    assert block.policy == {}
    # The wall clock stands still here, the calls came moments ago.
    assert all(1_699_999_000 * 10**6 < moment <= 1_700_000_000 * 10**6 for moment in block.time_us.tolist())


def test_failed_calls_have_blocks_without_fields(log):
    stream = log.stream()
    log.add(stream, x([1, 2]), y(10))
    log.add(stream, {}, None, rows=0, status=429, code="overloaded")
    # The model answered, the answer could not be written: its caller got a failure.
    log.add(stream, x([1, 2]), y(10), status=500, code="internal-error")
    answered, failed = log.blocks()
    assert len(answered) == 1
    assert (failed.codes, failed.status.tolist()) == (["overloaded", "internal-error"], [429, 500])
    assert failed.inputs == failed.outputs == {}


def test_many_records_are_written_before_the_timer_comes(log):
    stream = log.stream()
    for number in range(1000):
        log.add(stream, x([number, 0]), y(number))
    blocks = log.blocks()
    assert len(blocks) > 5
    assert [value for block in blocks for value in block.outputs["y"].tolist()] == list(range(1000))


def test_large_records_do_not_wait_for_others(log):
    stream = log.stream()
    for number in range(4):
        log.add(stream, x([number, 0]), y(number), size=3 * 2**20)
    assert [len(block) for block in log.blocks()] == [2, 2]


def test_a_model_without_rows(log):
    signature = Signature(inputs=(Field(name="x", datatype="FP32", shape=(2, 2)),), outputs=(Y,), layout="tensors",
                          batched=False)  # fmt: skip
    stream = log.stream(signature)
    for number in range(2):
        log.add(stream, {"x": np.full((2, 2), number, np.float32)}, y(number, number, number))
    (block,) = log.blocks()
    assert block.inputs["x"].shape == (2, 2, 2)
    assert block.outputs["y"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_forms_that_do_not_join_are_in_blocks_of_their_own(log):
    signature = Signature(inputs=(Field(name="x", datatype="FP32", shape=(-1, -1)),), outputs=(Y,), layout="tensors")
    stream = log.stream(signature)
    for width in (2, 3, 2, 3, 3):
        log.add(stream, {"x": np.zeros((1, width), np.float32)}, y(width))
    assert [block.inputs["x"].shape for block in log.blocks()] == [(2, 2), (3, 3)]


def test_whole_numbers_are_never_widened_to_floats(log):
    stream = log.stream()
    log.add(stream, x([1, 2]), y(2**53 + 1))
    log.add(stream, x([1, 2]), {"y": np.array([0.5])})
    whole, fraction = log.blocks()
    assert_equal_arrays(whole.outputs["y"], np.array([2**53 + 1]))
    assert fraction.outputs["y"].tolist() == [0.5]


def test_what_cannot_be_written_is_counted_and_told_once(log):
    stream = log.stream(PEOPLE, fields={"name": "keep"})
    for _ in range(2):
        log.add(stream, {**x([1, 2]), "name": np.array(["\ud800"], object)}, y(1))
        log.add(stream, {**x([1, 2]), "name": np.array([["ann"]], object)}, y(1))
        stream.flush()
    assert [block.inputs["name"].tolist() for block in log.blocks()] == [[["ann"]], [["ann"]]]
    assert log.recorder.counts().dropped == 2
    assert [name for name, _ in log.events] == ["record-failed"]


# ---- rules for fields


def test_sensitive_fields_are_hashed_by_default(log):
    stream = log.stream(PEOPLE)
    for name in ("ann", "bob", "ann"):
        log.add(stream, {**x([1, 2]), "name": np.array([name], object)}, y(1))
    (block,) = log.blocks()
    salt = load_salt(log.home / "salt")
    assert block.inputs["name"].tolist() == hashed(np.array(["ann", "bob", "ann"], object), salt).tolist()
    assert block.policy == {"inputs/name": "hash"}
    content = b"".join(path.read_bytes() for path in (log.home / "log").iterdir())
    assert b"bob" not in content
    assert salt not in content


def test_the_routes_override_what_the_signature_says(log):
    stream = log.stream(PEOPLE, fields={"name": "keep", "x": "drop", "y": "hash"})
    log.add(stream, {**x([1, 2]), "name": np.array(["ann"], object)}, y(7))
    (block,) = log.blocks()
    assert list(block.inputs) == ["name"]
    assert block.inputs["name"].tolist() == ["ann"]
    assert block.outputs["y"].tolist() == hashed(np.array([7]), load_salt(log.home / "salt")).tolist()
    assert block.policy == {"inputs/x": "drop", "outputs/y": "hash"}


def test_other_rules_hold_from_the_next_call_on(log):
    stream = log.stream(PEOPLE, fields={"name": "keep"})
    log.add(stream, {**x([1, 2]), "name": np.array(["ann"], object)}, y(1))
    stream.follow(Recording(fields={"name": "drop"}))
    log.add(stream, {**x([1, 2]), "name": np.array(["bob"], object)}, y(1))
    before, after = log.blocks()
    assert before.inputs["name"].tolist() == ["ann"]
    assert "name" not in after.inputs


def test_without_a_salt_nothing_is_kept_that_should_be_hashed(log):
    (log.home / "salt").write_bytes(b"cut off")
    stream = log.stream(PEOPLE)
    log.add(stream, {**x([1, 2]), "name": np.array(["ann"], object)}, y(1))
    (block,) = log.blocks()
    assert list(block.inputs) == ["x"]
    assert block.policy == {"inputs/name": "drop"}
    assert [name for name, _ in log.events] == ["salt-unreadable"]


def test_no_salt_is_made_where_nothing_is_hashed(log):
    log.stream()
    assert not (log.home / "salt").exists()


def test_a_rule_for_a_field_that_does_not_exist_is_told(log):
    log.stream(fields={"x": "drop", "emial": "drop"})
    assert log.events == [
        ("recording-fields-unknown", {"endpoint": "churn", "version": "churn/7", "fields": ["emial"]})
    ]


@given(st.dictionaries(st.sampled_from(["x", "name", "y"]), st.sampled_from(["keep", "drop", "hash"])))
def test_a_rule_for_every_field(rules):
    found = policies(PEOPLE, Recording(fields=rules))
    for path, name, by_default in (
        ("inputs/x", "x", "keep"),
        ("inputs/name", "name", "hash"),
        ("outputs/y", "y", "keep"),
    ):
        assert found.get(path, "keep") == rules.get(name, by_default)


# ---- samples


def test_the_sample_follows_from_the_id(log):
    ids = [f"request-{number}" for number in range(4000)]
    small, large = ({one for one in ids if sampled(one, int(share * _SPACE))} for share in (0.1, 0.5))
    assert small < large
    assert 300 < len(small) < 500
    assert 1850 < len(large) < 2150


@pytest.mark.parametrize(("sample", "share"), [(0.0, 0), (1.0, 500), (0.25, None)])
def test_only_the_sample_is_recorded(log, sample, share):
    stream = log.stream(sample=sample)
    for number in range(500):
        log.add(stream, x([1, 2]), y(1), request_id=f"r{number}")
        log.add(stream, {}, None, status=429, request_id=f"f{number}")
    recorded = {one for block in log.blocks() for one in block.ids}
    expected = {
        f"{letter}{number}" for letter in "rf" for number in range(500)
        if sample == 1 or sampled(f"{letter}{number}", int(sample * _SPACE))
    }  # fmt: skip
    assert recorded == expected
    assert share is None or len(recorded) == 2 * share


# ---- bounds


def test_what_the_disk_cannot_take_in_time_is_dropped_and_counted(tmp_path):
    log = Log(tmp_path, pending_bytes=20_000)
    stream = log.stream()
    # The thread has not begun: as if the disk took for ever.
    for number in range(1000):
        log.add(stream, x([number, 0]), y(number))
        if number % 100 == 99:
            stream.flush()
            log.recorder.hand_over()
    dropped = log.recorder.counts().dropped
    assert 0 < dropped < 1000
    blocks = log.blocks()
    counts = log.recorder.counts()
    assert sum(map(len, blocks)) == counts.recorded == 1000 - dropped
    assert counts.recorded_bytes == sum(one.size for one in list_segments(tmp_path / "log")) - 12
    # What came first was kept, whole.
    assert [value for block in blocks for value in block.outputs["y"].tolist()] == list(range(1000 - dropped))


def test_room_comes_back_when_the_disk_has_written(tmp_path):
    log = Log(tmp_path, pending_bytes=20_000, flush_s=0.001)
    stream = log.stream()

    async def fill():
        task = asyncio.ensure_future(log.recorder.run())
        added = 0
        while log.recorder.counts().recorded < 3000:
            log.add(stream, x([1, 2]), y(added))
            added += 1
            if added % 50 == 0:
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.to_thread(log.recorder.close)
        return added

    added = asyncio.run(fill())
    counts = log.recorder.counts()
    assert counts.recorded + counts.dropped == added


def test_a_disk_that_refuses_costs_records_and_no_answer(log):
    (log.home / "log").write_text("a file where the folder should be")
    stream = log.stream()
    for _ in range(300):
        log.add(stream, x([1, 2]), y(1))
    with pytest.raises(NotADirectoryError):
        log.blocks()
    assert log.recorder.counts().dropped == 300
    assert [name for name, _ in log.events].count("recording-failed") == 1


def test_records_of_a_version_that_is_freed_are_kept(log):
    stream = log.stream()
    log.add(stream, x([1, 2]), y(1))
    stream.close()
    other = log.stream()
    log.add(other, x([1, 2]), y(2))
    assert [value for block in log.blocks() for value in block.outputs["y"].tolist()] == [1, 2]


def test_closing_ends_the_thread(log):
    before = set(threading.enumerate())
    log.blocks()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "records"]
