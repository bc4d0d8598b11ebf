"""Segments begin and end when they should, and a disk that says no costs records, never more."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys

import pytest
from tests.predlog.blocks import block

from penstock.predlog.record import encode_block
from penstock.predlog.segment import list_segments, read_segment
from penstock.predlog.writer import RETENTION_S, RETRY_S, RecordingLimits, Writer

FRAME = encode_block(block())


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def events():
    return []


@pytest.fixture
def make(tmp_path, clock, events):
    """`make(loop=0, **limits)`: a writer into `tmp_path`/log; all are closed at the end."""
    with contextlib.ExitStack() as made:

        def one(loop=0, folder=None, **limits):
            writer = Writer(
                folder or tmp_path / "log", loop, RecordingLimits(**limits), clock,
                lambda name, **fields: events.append((name, fields)),
            )  # fmt: skip
            made.callback(writer.close)
            return writer

        yield one


def records(folder):
    """Segment sequence to the number of its blocks."""
    return {one.name.sequence: len(list(read_segment(one.path))) for one in list_segments(folder)}


@contextlib.contextmanager
def no_file_beyond(limit):
    """As on a full disk, write() raises OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_nothing_is_made_before_there_is_something_to_write(make, tmp_path):
    writer = make()
    writer.tend()
    writer.close()
    assert list_segments(tmp_path / "log") == []


def test_a_segment_that_is_full_is_followed_by_another(make, tmp_path):
    writer = make(segment_bytes=3 * len(FRAME))
    for _ in range(7):
        assert writer.write([FRAME]) > len(FRAME)
    assert records(tmp_path / "log") == {1: 2, 2: 2, 3: 2, 4: 1}
    assert [one.closed for one in list_segments(tmp_path / "log")] == [True, True, True, False]


def test_a_block_larger_than_a_segment_has_one_of_its_own(make, tmp_path):
    writer = make(segment_bytes=10)
    writer.write([FRAME])
    writer.write([FRAME, FRAME])
    assert records(tmp_path / "log") == {1: 1, 2: 2}


def test_a_segment_that_is_old_is_closed_though_nothing_comes(make, tmp_path, clock):
    writer = make(segment_age_s=300)
    writer.write([FRAME])
    clock.now += 299
    writer.tend()
    assert not list_segments(tmp_path / "log")[0].closed
    clock.now += 2
    writer.tend()
    assert list_segments(tmp_path / "log")[0].closed
    writer.write([FRAME])
    assert records(tmp_path / "log") == {1: 1, 2: 1}


def test_a_clock_that_is_set_back_closes_the_segment(make, tmp_path, clock):
    writer = make()
    writer.write([FRAME])
    clock.now -= 86_400
    writer.tend()
    writer.write([FRAME])
    assert sorted(records(tmp_path / "log")) == [1, 2]


def test_a_restarted_loop_goes_on_counting_and_never_writes_into_an_old_segment(make, tmp_path, clock):
    make().write([FRAME])
    again = make()
    again.write([FRAME])
    other = make(loop=1)
    other.write([FRAME])
    found = [(one.name.loop, one.name.sequence) for one in list_segments(tmp_path / "log")]
    assert sorted(found) == [(0, 1), (0, 2), (1, 1)]


def test_old_segments_are_deleted_as_time_passes(make, tmp_path, clock, events):
    writer = make(segment_age_s=60, max_age_s=86_400)
    writer.write([FRAME])
    clock.now += 61
    writer.tend()
    clock.now += 86_400
    writer.tend()
    assert list_segments(tmp_path / "log") == []
    assert events[-1][0] == "segments-deleted"


def test_the_folder_stays_within_its_bytes(make, tmp_path, clock):
    writer = make(segment_bytes=2 * len(FRAME), max_bytes=10 * len(FRAME))
    for _ in range(50):
        writer.write([FRAME])
    clock.now += RETENTION_S
    writer.tend()
    found = list_segments(tmp_path / "log")
    assert sum(one.size for one in found) <= 10 * len(FRAME)
    assert found[-1].name.sequence == 50
    assert len(found) >= 5


def test_two_loops_share_the_bound(make, tmp_path, clock):
    first, second = (make(loop, segment_bytes=2 * len(FRAME), max_bytes=10 * len(FRAME)) for loop in (0, 1))
    for _ in range(20):
        first.write([FRAME])
        second.write([FRAME])
        clock.now += 1
    clock.now += RETENTION_S
    first.tend()
    found = list_segments(tmp_path / "log")
    assert sum(one.size for one in found) <= 10 * len(FRAME)
    assert {one.name.loop for one in found} == {0, 1}


def test_a_full_disk_costs_records_until_there_is_room(make, tmp_path, clock, events):
    writer = make()
    assert writer.write([FRAME])
    with no_file_beyond(len(FRAME) + 100):
        assert writer.write([FRAME]) == 0
        # Not tried again at once: a disk may be full for days.
        clock.now += RETRY_S / 2
        assert writer.write([FRAME]) == 0
        clock.now += RETRY_S
        # A new segment begins with what fits.
        assert writer.write([FRAME])
    with no_file_beyond(5):
        assert writer.write([FRAME]) == 0
    clock.now += RETRY_S / 2
    assert writer.write([FRAME]) == 0
    clock.now += RETRY_S
    assert writer.write([FRAME, FRAME])
    writer.close()
    assert sorted(records(tmp_path / "log").values()) == [1, 1, 2]
    assert [name for name, _ in events] == ["recording-failed", "recording-resumed"] * 2
    # Nothing half made is left.
    assert all(path.suffix == ".seg" for path in (tmp_path / "log").iterdir())


def test_a_clock_that_is_set_back_does_not_stop_trying(make, tmp_path, clock):
    writer = make()
    with no_file_beyond(5):
        assert writer.write([FRAME]) == 0
    clock.now -= 86_400
    assert writer.write([FRAME])


def test_a_segment_without_a_block_is_not_left_behind(make, tmp_path, clock):
    writer = make()
    with no_file_beyond(20):
        assert writer.write([FRAME]) == 0
    assert list((tmp_path / "log").iterdir()) == []


def test_a_home_that_is_no_folder(make, tmp_path, clock, events):
    (tmp_path / "log").write_text("a file")
    writer = make()
    for _ in range(3):
        assert writer.write([FRAME]) == 0
        clock.now += 2 * RETRY_S
        writer.tend()
    assert [name for name, _ in events].count("recording-failed") == 1
    (tmp_path / "log").unlink()
    assert writer.write([FRAME])
    assert events[-1][0] == "recording-resumed"


def test_a_folder_that_is_removed_while_it_is_written(make, tmp_path, clock):
    writer = make(segment_age_s=60)
    writer.write([FRAME])
    shutil.rmtree(tmp_path / "log")
    clock.now += 61
    writer.tend()
    assert writer.write([FRAME])
    assert list(records(tmp_path / "log").values()) == [1]


_PROGRAM = """
import pathlib, sys
from penstock.predlog.segment import list_segments, read_segment
from penstock.predlog.writer import RecordingLimits, Writer
folder, payload = pathlib.Path(sys.argv[1]), b"x" * 1000
now = [1e9]
writer = Writer(folder, 0, RecordingLimits(), lambda: now[0], lambda name, **fields: print(name, flush=True))
results = []
for _ in range(40):
    results.append(bool(writer.write([payload])))
    now[0] += 2
print(results[0], results[-1], flush=True)
filler = folder.parent / "filler"
filler.exists() and filler.unlink()
now[0] += 2
print(bool(writer.write([payload])), flush=True)
"""


def in_namespace(tmp_path, mount, before=""):
    """The program's lines, run where `mount` holds: in a mount namespace, so that the machine's stay as they are."""
    script = f"{mount} 2>/dev/null || exit 77\n{before}\n{sys.executable} -c '{_PROGRAM}' {tmp_path}/small/log"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def small(tmp_path):
    (tmp_path / "small").mkdir()
    return tmp_path / "small"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_file_system_that_is_full(tmp_path, small):
    said = in_namespace(
        tmp_path, f"mount -t tmpfs -o size=64k none {small}", f"head -c 40000 /dev/zero > {small}/filler"
    )
    assert said[0] == "recording-failed"
    # Written at first, lost when full, written again when there is room.
    assert said[-4:] == ["True", "False", "recording-resumed", "True"]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_home_that_is_read_only(tmp_path, small):
    said = in_namespace(tmp_path, f"mount -t tmpfs -o ro none {small}")
    assert said[:3] == ["recording-failed", "False", "False"]
