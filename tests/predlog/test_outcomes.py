"""What became of predictions: late, twice, corrected, unknown, and as of any past time."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.predlog.logged import ask, block, ids, places_in, write_segment

from penstock.core.errors import InvalidInput, PenstockError, Unavailable
from penstock.predlog.compact import compact_all
from penstock.predlog.outcome_files import read_outcomes
from penstock.predlog.outcomes import Outcome, outcome_from, read_value
from penstock.predlog.query import unknown_outcomes
from penstock.predlog.table_store import TableFolder
from penstock.predlog.table_views import Selection

BEGIN = 2_000_000_000


class Clock:
    """A wall clock that stands until it is moved."""

    def __init__(self):
        self.now = BEGIN

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def places(tmp_path, clock):
    """A log of r0, r1 and r2."""
    places = places_in(tmp_path, clock=clock)
    write_segment(places.segments[0], [block(3)])
    return places


def tell(places, request_id, value, **fields):
    return places.outcomes.append([Outcome(request_id=request_id, value=value, **fields)])


def labels(places, as_of=None):
    """Label by request id, as of a time."""
    return dict(ask(places, 'SELECT request_id, "outcome.label" FROM joined', Selection(as_of=as_of)))


@pytest.fixture(params=["fresh", "compacted"])
def settle(request):
    """What is asked must not depend on whether the outcomes are in the table already."""
    return (lambda places: None) if request.param == "fresh" else (lambda places: compact_all(places))


def test_an_outcome_stands_beside_its_prediction(places, settle):
    tell(places, "r1", 1)
    settle(places)
    assert labels(places) == {"r0": None, "r1": 1.0, "r2": None}


def test_what_was_known_at_any_past_time_can_be_asked_again(places, clock, settle):
    tell(places, "r1", 0)
    clock.now += 100
    settle(places)
    tell(places, "r1", 1)
    settle(places)
    assert labels(places) == {"r0": None, "r1": 1.0, "r2": None}
    assert labels(places, BEGIN + 99)["r1"] == 0.0
    assert labels(places, BEGIN)["r1"] == 0.0
    assert labels(places, BEGIN - 1) == {"r0": None, "r1": None, "r2": None}


def test_a_clock_that_is_set_back_makes_no_correction_older_than_what_it_corrects(places, clock, settle):
    tell(places, "r0", "wrong")
    clock.now -= 1_000_000
    corrected = tell(places, "r0", "right")
    settle(places)
    assert labels(places)["r0"] == "right"
    assert corrected.received_us == BEGIN * 1_000_000 + 1


def test_told_again_with_its_time_it_is_no_correction(places, clock, settle):
    """A client that tries again must not undo what was corrected in between."""
    seen = datetime(2031, 1, 1, tzinfo=UTC)
    for value, observed_at in ((0, seen), (1, seen.replace(day=2)), (0, seen)):
        tell(places, "r0", value, observed_at=observed_at)
        clock.now += 1
    settle(places)
    assert labels(places)["r0"] == 1.0
    assert ask(places, "SELECT count(*) FROM outcomes") == [(2,)]
    assert labels(places, BEGIN)["r0"] == 0.0


def test_the_later_of_one_file_wins(places, tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("request_id,value\nr0,0\nr0,1\nr0,2\n")
    assert places.outcomes.add_file(file, places.table).outcomes == 3
    assert labels(places)["r0"] == 2.0


def test_each_name_has_a_column_of_its_own_type(places, settle):
    tell(places, "r0", True, name="churned")
    tell(places, "r0", 12.5, name="revenue")
    tell(places, "r1", "late", name="note")
    tell(places, "r2", 3, name="note")
    tell(places, "r2", 2**53 + 1, name="big")
    settle(places)
    columns = '"outcome.churned", "outcome.revenue", "outcome.note"'
    assert ask(places, f"SELECT {columns} FROM joined ORDER BY time") == [
        (True, 12.5, None),
        (None, None, "late"),
        (None, None, "3"),
    ]
    assert ask(places, "SELECT text FROM outcomes WHERE name = 'big'") == [("9007199254740993",)]


def test_outcomes_of_other_rows_and_of_other_requests_do_not_meet(tmp_path):
    places = places_in(tmp_path)
    write_segment(places.segments[0], [block(2, rows=[2, 1])])
    tell(places, "r0", 7, row=1)
    tell(places, "r1", 8, row=1)
    asked = 'SELECT request_id, row, "outcome.label" FROM joined ORDER BY time, row'
    assert ask(places, asked) == [("r0", 0, None), ("r0", 1, 7.0), ("r1", 0, None)]


def test_an_outcome_may_come_before_its_prediction(places, settle):
    early = tell(places, "r3", 1)
    settle(places)
    assert unknown_outcomes(places, early.received_us) == 1
    assert "r3" not in labels(places)
    write_segment(places.segments[0], [block(1, start=3)], sequence=9)
    assert unknown_outcomes(places, early.received_us) == 0
    assert labels(places)["r3"] == 1.0


def test_a_file_is_taken_once(places, tmp_path, settle):
    file = tmp_path / "labels.csv"
    file.write_text("request_id,value\nr0,1\nr1,0\nnobody,1\n")
    first = places.outcomes.add_file(file, places.table)
    assert (first.outcomes, first.again) == (3, False)
    assert unknown_outcomes(places, first.received_us) == 1
    settle(places)
    again = places.outcomes.add_file(file, places.table)
    assert (again.outcomes, again.again) == (0, True)
    assert places.outcomes.add_file(file, places.table, name="other").outcomes == 3
    assert ask(places, "SELECT name, count(*) FROM outcomes GROUP BY name ORDER BY name") == [
        ("label", 3),
        ("other", 3),
    ]


def written(tmp_path, kind):
    """The same five outcomes as a file of each kind."""
    rows = """
        SELECT * FROM (VALUES ('r0', 1.0, 0, 'label', TIMESTAMP '2031-01-02 03:04:05'),
        ('r1', 2.5, 1, 'label', NULL)) AS t(request_id, value, "row", name, observed_at)
    """
    path = tmp_path / f"outcomes.{kind}"
    form = {"csv": "FORMAT csv, HEADER", "parquet": "FORMAT parquet", "jsonl": "FORMAT json"}[kind]
    duckdb.connect().execute(f"COPY ({rows}) TO '{path}' ({form})")
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_files_of_each_kind_say_the_same(tmp_path, kind):
    when = datetime(2031, 1, 2, 3, 4, 5)
    assert list(read_outcomes(written(tmp_path, kind))) == [
        Outcome(request_id="r0", value=1.0, observed_at=when),
        Outcome(request_id="r1", value=2.5, row=1),
    ]


def test_times_with_a_zone_are_kept_in_utc(places, tmp_path):
    path = tmp_path / "zoned.parquet"
    rows = "SELECT 'r0' AS request_id, true AS value, TIMESTAMPTZ '2031-01-01 12:00:00+02' AS observed_at"
    duckdb.connect().execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    places.outcomes.add_file(path, places.table)
    tell(places, "r1", 1, observed_at=datetime.fromisoformat("2031-01-01T12:00:00+02:00"))
    expected = datetime(2031, 1, 1, 10)
    assert ask(places, "SELECT observed_at FROM outcomes") == [(expected,), (expected,)]


def test_a_spreadsheet_s_file_is_read(tmp_path):
    path = tmp_path / "sheet.CSV"
    path.write_bytes('\ufeffrequest_id,value\r\nr0,"a, ""b"""\r\n\r\nr1,007\r\n'.encode())
    assert [outcome.value for outcome in read_outcomes(path)] == ['a, "b"', "007"]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "", "no column 'request_id'"),
        ("a.csv", "request_id\nr0\n", "no column 'value'"),
        ("a.csv", "request_id,value,valeu\nr0,1,1\n", "unknown column 'valeu'"),
        ("a.csv", "request_id,value,value\nr0,1,1\n", "a column twice"),
        (
            "a.csv",
            "request_id,value\nr0,1\nr1\nr2,2\nr3,\n",
            "row 2: 1 cells under 2 columns; row 4: the value is",
        ),
        ("a.csv", "request_id,value\n,1\n", "row 1: request_id '' is empty"),
        ("a.csv", "request_id,value,row\nr0,1,-1\n", "row 1: row -1 is not between"),
        ("a.csv", "request_id,value,row\nr0,1,x\n", "row 1: "),
        ("a.csv", "request_id,value,observed_at\nr0,1,yesterday\n", "row 1: "),
        ("a.csv", "request_id,value,name\nr0,1,../x\n", "row 1: outcome '../x' is not a valid name"),
        ("a.csv", 'request_id,value\nr0,"1\n', "it cannot be read: "),
        ("a.csv", "request_id,value\n" + "x,\n" * 9, "row 5: the value is empty, and maybe more"),
        ("a.csv", b"request_id,value\nr0,\xff\n", "it cannot be read: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1}\n{"request_id"\n', "row 2: "),
        ("a.jsonl", '{"request_id": "r0", "value": null}\n', "row 1: "),
        ("a.jsonl", '{"request_id": 7, "value": 1}\n', "row 1: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1, "valeu": 1}\n', "row 1: "),
        ("a.jsonl", '{"request_id": "r0", "value": 1e999}\n', "row 1: "),
        ("a.jsonl", "[" * 100_000 + "\n", "row 1: "),
        ("a.jsonl", "{}\n" * 3, "row 3: "),
    ],
)
def test_a_wrong_file_is_refused_whole_with_its_rows(places, tmp_path, name, content, told):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidInput) as caught:
        places.outcomes.add_file(path, places.table)
    assert caught.value.code == "invalid-outcomes"
    assert told in caught.value.message
    assert ask(places, "SELECT count(*) FROM outcomes") == [(0,)]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("none.csv", None, "unknown-file"),
        ("a.xlsx", b"", "unsupported-outcomes"),
        ("a.parquet", b"PAR1 not really PAR1", "invalid-outcomes"),
        ("a.parquet", b"", "invalid-outcomes"),
    ],
)
def test_what_is_no_file_of_outcomes_is_said(places, tmp_path, name, content, code):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PenstockError) as caught:
        places.outcomes.add_file(path, places.table)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "", "value": 1},
        {"request_id": "a\nb", "value": 1},
        {"request_id": "x" * 257, "value": 1},
        {"request_id": "r0", "value": float("inf")},
        {"request_id": "r0", "value": 2**63},
        {"request_id": "r0", "value": "x" * 4097},
        {"request_id": "r0", "value": [1]},
        {"request_id": "r0", "value": 1, "row": 2**31},
        {"request_id": "r0", "value": 1, "name": ""},
        {"request_id": "r0"},
    ],
)
def test_a_wrong_outcome_is_refused(places, fields):
    with pytest.raises(InvalidInput) as caught:
        outcome_from(fields)
    assert caught.value.code == "invalid-outcome"


def test_all_of_a_call_is_taken_or_nothing(places):
    with pytest.raises(InvalidInput):
        places.outcomes.append([Outcome(request_id="r0", value=1), Outcome(request_id="", value=1)])
    assert ask(places, "SELECT count(*) FROM outcomes") == [(0,)]


@given(st.one_of(st.integers(-(2**63) + 1, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_a_value_is_read_as_it_is_written(value):
    text = str(value).lower()
    found = read_value(text)
    assert found == value
    assert type(found) is type(value)


def test_a_line_that_a_kill_left_unfinished_is_cut_off(places):
    tell(places, "r0", 1)
    journal = places.outcomes.folder / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"received_us":1,"posit')
    tell(places, "r1", 0)
    assert labels(places) == {"r0": 1.0, "r1": 0.0, "r2": None}
    assert compact_all(places).damaged == 0


def test_a_damaged_line_costs_itself_and_its_file_is_kept(places):
    tell(places, "r0", 1)
    with (places.outcomes.folder / "journal.jsonl").open("ab") as file:
        file.write(b"\xff nonsense\n")
    tell(places, "r1", 0)
    assert compact_all(places).damaged == 1
    assert labels(places) == {"r0": 1.0, "r1": 0.0, "r2": None}
    (kept,) = places.outcomes.folder.glob("damaged-*")
    assert b"nonsense" in kept.read_bytes()


def test_a_full_disk_takes_all_of_a_call_or_nothing(tmp_path):
    """Small files are all that the process may write; to a program that is a disk that is full."""
    code = f"""
        import resource
        from pathlib import Path
        from penstock.core.errors import Unavailable
        from penstock.predlog.outcomes import Outcome
        from penstock.predlog.outcome_spool import OutcomeSpool
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        spool = OutcomeSpool(Path({str(tmp_path)!r}, "outcomes"))
        spool.append([Outcome(request_id="r0", value=1)])
        try:
            spool.append([Outcome(request_id=f"r{{n}}", value=1) for n in range(1, 200)])
        except Unavailable as error:
            assert error.code == "disk-full", error
        else:
            raise SystemExit("it was taken")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ask(places_in(tmp_path), "SELECT request_id FROM outcomes") == [("r0",)]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from penstock.predlog.outcome_spool import OutcomeSpool
    from penstock.predlog.table_store import TableFolder

    left = int(sys.argv[2])
    def count(event, arguments):
        global left
        if event in ("os.rename", "os.remove"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    OutcomeSpool(Path(sys.argv[1], "outcomes")).forward(TableFolder(Path(sys.argv[1], "table")))
"""


def test_killed_while_forwarding_nothing_is_lost_and_nothing_there_twice(tmp_path):
    for moment in range(1, 30):
        root = tmp_path / str(moment)
        places = places_in(root)
        tell(places, "r0", 1)
        file = root / "labels.csv"
        file.write_text("request_id,value\nr1,0\nr2,1\n")
        places.outcomes.add_file(file, places.table)
        arguments = [sys.executable, "-c", textwrap.dedent(KILLED), str(root), str(moment)]
        done = subprocess.run(arguments, capture_output=True, text=True)
        for _ in range(2):
            found = ask(places, "SELECT request_id, text FROM outcomes ORDER BY request_id")
            assert found == [("r0", "1"), ("r1", "0"), ("r2", "1")]
            compact_all(places)
        assert [path.name for path in places.outcomes.folder.iterdir()] == ["lock"]
        if done.returncode == 0:
            assert moment > 4
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
    pytest.fail("it never came to its end")


class FullStore(TableFolder):
    """A folder on a disk that is full, while `full` is set."""

    full = True

    def put(self, key, path):
        if self.full:
            raise Unavailable("disk-full", os.strerror(errno.ENOSPC))
        super().put(key, path)


def test_what_the_store_does_not_take_stays_and_goes_later(places, tmp_path):
    store = FullStore(tmp_path / "table")
    tell(places, "r0", 1)
    moved = places.outcomes.forward(store)
    assert (moved.batches, moved.waiting) == (0, 1)
    assert "disk-full" in moved.problem
    assert labels(places)["r0"] == 1.0
    store.full = False
    assert places.outcomes.forward(store).batches == 1
    assert labels(places)["r0"] == 1.0


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from([-5, 0, 1, 60]), st.booleans()), max_size=12
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_the_last_one_received_by_then_wins_whatever_the_order(tmp_path_factory, operations):
    """Compared with a list of what was told, for every moment that ever was."""
    clock = Clock()
    places = places_in(tmp_path_factory.mktemp("log"), clock=clock)
    write_segment(places.segments[0], [block(3)])
    told = []
    for request, value, step, forward in operations:
        taken = tell(places, f"r{request}", value)
        told.append((taken.received_us, f"r{request}", float(value)))
        clock.now += step
        if forward:
            compact_all(places)
    for moment in {told[at][0] for at in (0, len(told) // 2, -1) if told}:
        known = {key: value for received, key, value in told if received <= moment}
        expected = {key: known.get(key) for key in ids(places)}
        assert labels(places, moment / 1e6) == expected
