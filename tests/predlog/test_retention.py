"""The oldest closed segments go first, and only as many as must."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.predlog.retention import enforce, given_up
from penstock.predlog.segment import Segment, SegmentWriter, list_segments, segment_name

DAY_S = 86_400.0
NOW_S = 1_700_000_000.0


def segment(age_days, size=100, closed=True, sequence=1):
    name = segment_name(0, NOW_S - age_days * DAY_S, sequence)
    return Segment(Path(str(name)), name, size, closed)


def ages(segments, **bounds):
    bounds = {"max_age_s": 30 * DAY_S, "max_bytes": 10**9, **bounds}
    return [all_.index(one) for all_ in [segments] for one in given_up(segments, NOW_S, **bounds)]


def test_nothing_goes_within_the_bounds():
    assert ages([segment(29.9), segment(1), segment(0)]) == []


def test_what_is_too_old_goes():
    assert ages([segment(400), segment(30.1), segment(29.9)]) == [0, 1]


def test_the_oldest_go_until_the_rest_fits():
    segments = [segment(5), segment(4), segment(3), segment(2)]
    assert ages(segments, max_bytes=400) == []
    assert ages(segments, max_bytes=399) == [0]
    assert ages(segments, max_bytes=250) == [0, 1]
    assert ages(segments, max_bytes=0) == [0, 1, 2, 3]


def test_what_is_still_written_counts_and_stays():
    segments = [segment(50, closed=False), segment(3, size=10), segment(0, closed=False)]
    assert ages(segments, max_bytes=205) == [1]
    assert ages(segments, max_bytes=0) == [1]


def test_a_clock_before_1970_deletes_nothing_for_its_age():
    assert given_up([segment(0)], 0.0, 30 * DAY_S, 10**9) == []


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1000), st.booleans()), max_size=12),
    st.integers(0, 5000),
    st.integers(0, 60),
)
def test_the_bounds_hold_wherever_they_can(made, max_bytes, max_days):
    segments = sorted((segment(*one) for one in made), key=lambda one: one.name)
    gone = given_up(segments, NOW_S, max_days * DAY_S, max_bytes)
    left = [one for one in segments if one not in gone]
    assert all(one.closed for one in gone)
    still_there = [one for one in left if one.closed]
    assert not still_there or sum(one.size for one in left) <= max_bytes
    assert all(one.name.start >= segment(max_days).name.start for one in still_there)


@pytest.fixture
def folder(tmp_path):
    for number, age_days in enumerate((40, 20, 10), 1):
        writer = SegmentWriter(tmp_path, segment_name(0, NOW_S - age_days * DAY_S, number))
        writer.append([b"x" * 1000])
        writer.close()
    (tmp_path / "notes.txt").write_text("not ours")
    return tmp_path


def test_enforcing_deletes_the_files(folder):
    gone = enforce(folder, NOW_S, 30 * DAY_S, 1500)
    assert [one.name.sequence for one in gone] == [1, 2]
    assert [one.name.sequence for one in list_segments(folder)] == [3]
    assert (folder / "notes.txt").exists()


def test_a_segment_that_another_process_deleted_is_no_failure(folder):
    found = list_segments(folder)
    found[0].path.unlink()
    assert [one.name.sequence for one in enforce(folder, NOW_S, 30 * DAY_S, 10**9)] == []
