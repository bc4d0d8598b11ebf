"""Segments into the table: each record once, whatever happens on the way."""

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.predlog.logged import BEGIN_S, ask, block, failed, ids, places_in, write_segment

from penstock.core.errors import Conflict, Unavailable
from penstock.predlog import compact as compaction
from penstock.predlog.compact import compact, compact_all
from penstock.predlog.record import encode_block
from penstock.predlog.segment import list_segments
from penstock.predlog.table_engine import quoted
from penstock.predlog.table_views import Selection


@pytest.fixture
def places(tmp_path):
    return places_in(tmp_path)


def files(places):
    return places.table.keys("predictions")


def test_a_record_has_a_row_per_predicted_row_with_typed_columns(places):
    write_segment(places.segments[0], [block(2, rows=[1, 2]), failed()])
    done = compact_all(places)
    assert (done.segments, done.rows, done.waiting, done.problems) == (1, 4, 0, ())
    columns = 'request_id, row, rows, status, code, "input.age", "input.city", "output.probabilities"'
    assert ask(places, f"SELECT {columns} FROM predictions ORDER BY request_id DESC, row") == [
        ("r1", 0, 2, 200, "", 1.0, "c1", pytest.approx([0.01, 0.99])),
        ("r1", 1, 2, 200, "", 2.0, "c2", pytest.approx([0.02, 0.98])),
        ("r0", 0, 1, 200, "", 0.0, "c0", pytest.approx([0.0, 1.0])),
        ("bad0", 0, 1, 400, "wrong-shape", None, None, None),
    ]
    kinds = dict(ask(places, "SELECT column_name, column_type FROM (DESCRIBE predictions)"))
    assert kinds["time"] == "TIMESTAMP"
    assert kinds["output.predictions"] == "BIGINT"
    assert kinds["output.probabilities"] == "FLOAT[]"


def test_parts_lie_by_endpoint_and_day(places):
    midnight_s = (BEGIN_S // 86_400 + 1) * 86_400
    write_segment(places.segments[0], [block(4, at_s=midnight_s - 2), block(1, endpoint="spam", prefix="s")])
    compact_all(places)
    assert [key.rpartition("/")[0] for key in files(places)] == [
        "predictions/endpoint=churn/date=2030-03-17",
        "predictions/endpoint=churn/date=2030-03-18",
        "predictions/endpoint=spam/date=2030-03-17",
    ]
    assert ids(places, Selection(endpoint="churn", since=midnight_s)) == ["r2", "r3"]
    assert ids(places, Selection(until=midnight_s)) == ["s0", "r0", "r1"]


def test_a_segment_that_is_still_written_stays_and_is_read(places):
    writer = write_segment(places.segments[0], [block(2)], close=False)
    assert compact_all(places).segments == 0
    assert ids(places) == ["r0", "r1"]
    writer.append([encode_block(block(1, start=2))])
    assert ids(places) == ["r0", "r1", "r2"]
    writer.close()
    assert compact_all(places).rows == 3
    assert list_segments(places.segments[0]) == []
    assert ids(places) == ["r0", "r1", "r2"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from penstock.predlog.compact import compact
    from penstock.predlog.table_store import TableFolder

    calls = 0
    def end_at(moment):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(lambda event, arguments: end_at(event) if event in ("os.rename", "os.remove") else None)
    compact(Path(sys.argv[1], "seg"), TableFolder(Path(sys.argv[1], "table")))
"""


def test_killed_at_every_moment_nothing_is_lost_and_nothing_there_twice(tmp_path):
    """Ended at each step that changes a name on disk, asked at once, then done again."""
    expected = [f"r{number}" for number in range(8)]
    for moment in range(1, 40):
        places = places_in(tmp_path / str(moment))
        write_segment(places.segments[0], [block(4), failed()])
        write_segment(places.segments[0], [block(4, start=4)], sequence=1)
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / str(moment)), str(moment)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        answered = "SELECT request_id FROM predictions WHERE status = 200 ORDER BY time"
        assert [row[0] for row in ask(places, answered)] == expected
        compact_all(places)
        assert [row[0] for row in ask(places, answered)] == expected
        assert ask(places, "SELECT count(*) FROM predictions") == [(9,)]
        assert sorted(path.name for path in places.segments[0].iterdir()) == ["compact.lock"]
        if done.returncode == 0:
            assert moment > 6, "it was killed in fewer places than there are"
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
    pytest.fail("it never came to its end")


def test_a_compaction_that_ended_before_the_segment_went_is_not_seen_twice(places, tmp_path):
    write_segment(places.segments[0], [block(3)])
    (segment,) = list_segments(places.segments[0])
    kept = segment.path.read_bytes()
    compact_all(places)
    before = files(places)
    segment.path.write_bytes(kept)
    assert ids(places) == ["r0", "r1", "r2"]
    compact_all(places)
    assert files(places) == before
    assert ids(places) == ["r0", "r1", "r2"]


def test_segments_of_one_name_on_two_machines_are_two(tmp_path):
    """A home that was wiped begins anew under the same names; the table it shares keeps what it has."""
    for number, prefix in enumerate("ab"):
        places = places_in(tmp_path / prefix, tmp_path / "table")
        write_segment(places.segments[0], [block(1, prefix=prefix)])
        compact_all(places)
        assert len(files(places)) == number + 1
    assert ids(places) == ["a0", "b0"]


def test_two_at_once_do_not_disturb_each_other(places):
    write_segment(places.segments[0], [block(1)])
    with compaction._alone(places.segments[0]), pytest.raises(Conflict, match="log-busy"):
        compact(places.segments[0], places.table)
    assert compact_all(places).rows == 1


def test_a_damaged_block_costs_itself_and_its_segment_is_kept(places):
    writer = write_segment(places.segments[0], [block(2), block(2, start=2), block(2, start=4)])
    data = bytearray(writer.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    writer.path.write_bytes(data)
    done = compact_all(places)
    assert (done.segments, done.rows, done.damaged) == (1, 4, 1)
    assert ids(places) == ["r0", "r1", "r4", "r5"]
    assert (places.segments[0] / (writer.path.name + ".damaged")).read_bytes() == data
    assert compact_all(places).segments == 0


def test_what_a_kill_cut_off_is_left_behind(places):
    writer = write_segment(places.segments[0], [block(2), block(2, start=2)])
    writer.path.write_bytes(writer.path.read_bytes()[:-7])
    assert compact_all(places).rows == 2
    assert ids(places) == ["r0", "r1"]


@pytest.mark.parametrize("content", [b"", b"penslog\0\x01\0\0\0", b"pens"])
def test_a_segment_without_records_just_goes(places, content):
    write_segment(places.segments[0], [])
    (segment,) = list_segments(places.segments[0])
    segment.path.write_bytes(content)
    assert ids(places) == []
    assert compact_all(places).waiting == 0
    assert list_segments(places.segments[0]) == []


@pytest.mark.parametrize("content", [b"something else that is long enough", b"penslog\0\x63\0\0\0"])
def test_a_file_that_is_no_segment_of_ours_stays_and_the_others_go_on(places, content):
    write_segment(places.segments[0], [])
    (strange,) = list_segments(places.segments[0])
    strange.path.write_bytes(content)
    write_segment(places.segments[0], [block(1)], sequence=1)
    done = compact_all(places)
    assert (done.segments, done.waiting, len(done.problems)) == (1, 1, 1)
    assert strange.path.name in done.problems[0]
    assert strange.path.read_bytes() == content


def test_a_full_disk_keeps_the_segments(tmp_path):
    """The process may write files of 4 KiB at most, which to a program is a disk that is full."""
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(4000, inputs={"x": np.random.default_rng(0).random((4000, 8))})])
    code = f"""
        import resource, sys
        from pathlib import Path
        from penstock.predlog.compact import compact
        from penstock.predlog.table_store import TableFolder
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        done = compact(Path({str(tmp_path)!r}, "seg"), TableFolder(Path({str(tmp_path)!r}, "table")))
        assert done.waiting == 1 and "disk-full" in done.problems[0], done
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list_segments(places.segments[0])) == 1
    assert files(places) == []
    assert compact_all(places).rows == 4000


def test_no_folder_of_segments_is_an_empty_log(places):
    assert compact_all(places) == compaction.Compaction()
    assert ids(places) == []


def test_a_clock_that_jumps_only_moves_records(places):
    jumps = np.array([2**31, 0, BEGIN_S], np.int64) * 1_000_000
    write_segment(places.segments[0], [block(3, time_us=jumps)])
    assert ids(places) == ["r1", "r2", "r0"]
    assert compact_all(places).rows == 3
    assert ids(places) == ["r1", "r2", "r0"]


def test_versions_with_other_columns_share_the_view(places):
    """A column that a version lacks is NULL there; one that was hashed in some records is text in all."""
    hashed = np.array(["9f86d081", "60303ae2"], object)
    write_segment(places.segments[0], [block(2)])
    write_segment(
        places.segments[0],
        [block(2, start=2, inputs={"age": hashed, "new": np.ones(2, np.int8)}, policy={"inputs/age": "hash"})],
        sequence=1,
    )
    asked = 'SELECT request_id, "input.age", "input.new", policy FROM predictions ORDER BY time'
    expected = [
        ("r0", "0.0", None, None),
        ("r1", "1.0", None, None),
        ("r2", "9f86d081", 1, '{"inputs/age":"hash"}'),
        ("r3", "60303ae2", 1, '{"inputs/age":"hash"}'),
    ]
    assert ask(places, asked) == expected
    compact_all(places)
    assert ask(places, asked) == expected


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cc"]), min_size=1, max_size=8
)
DTYPES = st.sampled_from([np.bool_, np.uint8, np.uint64, np.int16, np.int64, np.float16, np.float32, np.float64])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(NAMES, min_size=1, max_size=4, unique=True),
    dtype=DTYPES,
    width=st.sampled_from([None, 1, 3, 300]),
    rows=st.lists(st.integers(1, 4), min_size=1, max_size=5),
)
def test_every_name_datatype_and_shape_comes_back(tmp_path_factory, names, dtype, width, rows):
    total = sum(rows)
    rng = np.random.default_rng(total)
    shape = (total,) if width is None else (total, width)
    values = rng.integers(0, 2, shape).astype(dtype)
    if dtype is np.uint64:
        values = values + np.uint64(2**63)
    places = places_in(tmp_path_factory.mktemp("log"))
    write_segment(places.segments[0], [block(len(rows), rows=rows, inputs=dict.fromkeys(names, values), outputs={})])
    compact_all(places)
    found = ask(places, "SELECT * EXCLUDE (policy) FROM predictions ORDER BY time, row")
    assert len(found) == total
    assert [list(row[-len(names) :]) for row in found] == [[value] * len(names) for value in values.tolist()]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("plain", "plain"),
        (None, None),
        (b"\xff\x00a", "\\xff\x00a"),
        ("", ""),
        ("a\0b", "a\0b"),
        ("'; DROP", "'; DROP"),
    ],
)
def test_text_of_every_kind_comes_back(places, value, told):
    column = np.array(["before", value], object)
    write_segment(places.segments[0], [block(2, inputs={'it\'s "x"': column})])
    compact_all(places)
    name = quoted('input.it\'s "x"')
    assert ask(places, f"SELECT {name} FROM predictions ORDER BY time") == [("before",), (told,)]


def test_missing_numbers_are_null(places):
    write_segment(
        places.segments[0], [block(2, inputs={"x": np.array([np.nan, 1.0]), "y": np.array([[1, np.nan]] * 2)})]
    )
    compact_all(places)
    assert ask(places, 'SELECT "input.x", "input.y" FROM predictions ORDER BY time') == [
        (None, [1.0, None]),
        (1.0, [1.0, None]),
    ]


def test_a_store_that_is_no_folder_says_so(tmp_path):
    (tmp_path / "table").write_text("a file")
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(1)])
    done = compact_all(places)
    assert done.waiting == 1
    assert "log-unavailable" in done.problems[0]
    assert len(list_segments(places.segments[0])) == 1
    with pytest.raises(Unavailable):
        places.table.put("a/b", tmp_path / "table")
