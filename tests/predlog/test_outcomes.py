"""What became of predictions: late, twice, corrected, unknown, and as of any past time."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.predlog.logged import ask, block, ids, places_in, write_segment

from penstock.core.errors import InvalidInput, Unavailable
from penstock.predlog.compact import compact_all
from penstock.predlog.outcomes import Outcome
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


def test_all_of_a_call_is_taken_or_nothing(places):
    with pytest.raises(InvalidInput):
        places.outcomes.append([Outcome(request_id="r0", value=1), Outcome(request_id="", value=1)])
    assert ask(places, "SELECT count(*) FROM outcomes") == [(0,)]


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
