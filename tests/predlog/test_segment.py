"""A reader gets every whole block, whatever happened to the file, and says what it did not get."""

import fcntl
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.predlog.blocks import assert_same, block

from penstock.core.errors import InvalidInput
from penstock.predlog.record import encode_block
from penstock.predlog.segment import (
    BLOCK_HEADER_BYTES,
    HEADER_BYTES,
    MARK,
    SegmentReport,
    SegmentWriter,
    list_segments,
    parse_segment_name,
    read_segment,
    segment_name,
)

BLOCKS = [block(ids=[f"{n}-{i}" for i in range(n + 1)], rows=[1] * (n + 1)) for n in range(4)]
FRAMES = [encode_block(one) for one in BLOCKS]


@pytest.fixture
def written(tmp_path):
    """A closed segment of four blocks, and where each of them ends."""
    writer = SegmentWriter(tmp_path, segment_name(0, 1e9, 1))
    ends = []
    for frame in FRAMES:
        writer.append([frame])
        ends.append(writer.size)
    writer.close()
    return writer.path, ends


def read(path, offset=0):
    """(ids of each block, report)."""
    report = SegmentReport()
    return [one.ids for _, one in read_segment(path, offset, report)], report


def ids(*numbers):
    return [BLOCKS[number].ids for number in numbers]


def test_blocks_come_back_in_order_with_their_ends(written):
    path, ends = written
    found = list(read_segment(path))
    assert [end for end, _ in found] == ends
    for (_, got), expected in zip(found, BLOCKS, strict=True):
        assert_same(got, expected)
    assert read(path)[1] == SegmentReport(blocks=4, records=10)


def test_several_blocks_in_one_write_are_the_same_file(written, tmp_path):
    path, _ = written
    writer = SegmentWriter(tmp_path, segment_name(0, 1e9, 2))
    writer.append(FRAMES)
    writer.close()
    assert writer.path.read_bytes() == path.read_bytes()


def test_reading_goes_on_from_the_end_of_any_block(written):
    path, ends = written
    for number, end in enumerate(ends):
        assert read(path, end)[0] == ids(*range(number + 1, 4))


def test_a_tail_torn_at_every_byte(written, tmp_path):
    path, ends = written
    data = path.read_bytes()
    torn = tmp_path / "torn"
    for size in range(len(data) + 1):
        torn.write_bytes(data[:size])
        whole = [number for number, end in enumerate(ends) if end <= size]
        got, report = read(torn)
        assert got == ids(*whole), size
        assert report.damaged == 0, size
        assert report.torn == (size not in (HEADER_BYTES, *ends)), size


def test_what_follows_a_torn_tail_is_read_when_it_is_there(written, tmp_path):
    path, ends = written
    data = path.read_bytes()
    growing = tmp_path / "growing"
    growing.write_bytes(data[: ends[1] + 20])
    seen = list(read_segment(growing))
    growing.write_bytes(data)
    assert read(growing, seen[-1][0])[0] == ids(2, 3)


def test_a_block_damaged_at_every_byte(written, tmp_path):
    """One byte of the second block is another: the others are read, and one is reported."""
    path, ends = written
    good = path.read_bytes()
    bad = tmp_path / "bad"
    for at in range(ends[0], ends[1]):
        bad.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :])
        got, report = read(bad)
        assert got == ids(0, 2, 3), at
        assert (report.damaged, report.torn) == (1, False), at


@settings(max_examples=150)
@given(st.data())
def test_any_damage_costs_only_what_it_touches(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("segments")
    writer = SegmentWriter(folder, segment_name(0, 1e9, 1))
    writer.append(FRAMES)
    writer.close()
    content = bytearray(writer.path.read_bytes())
    # Among the bytes that are put there are those that could be taken for a block.
    piece = data.draw(st.binary(min_size=1, max_size=30) | st.sampled_from([MARK, MARK + bytes(12), b"\0" * 40]))
    at = data.draw(st.integers(HEADER_BYTES, len(content) - 1))
    content[at : at + len(piece)] = piece
    writer.path.write_bytes(content)
    touched, start = set(), HEADER_BYTES
    for number, frame in enumerate(FRAMES):
        end = start + BLOCK_HEADER_BYTES + len(frame)
        if at < end and at + len(piece) > start:
            touched.add(number)
        start = end
    got, _ = read(writer.path)
    untouched = [number for number in range(4) if number not in touched]
    assert [one for one in got if one in ids(*untouched)] == ids(*untouched)


def test_a_mark_inside_a_payload_is_no_block(tmp_path):
    hidden = block(ids=["hidden"], rows=[1])
    payload = encode_block(hidden)
    tricky = encode_block(block(subjects=["blk\1" * 50, "b"]))
    writer = SegmentWriter(tmp_path, segment_name(0, 1e9, 1))
    writer.append([tricky, payload])
    writer.close()
    data = bytearray(writer.path.read_bytes())
    data[HEADER_BYTES + 5] ^= 1
    writer.path.write_bytes(data)
    got, report = read(writer.path)
    assert got == [["hidden"]]
    assert report == SegmentReport(blocks=1, records=1, damaged=1)


def test_a_payload_that_is_no_block_though_its_checksum_is_right(tmp_path):
    writer = SegmentWriter(tmp_path, segment_name(0, 1e9, 1))
    writer.append([FRAMES[0], b"nonsense", FRAMES[1]])
    writer.close()
    got, report = read(writer.path)
    assert got == ids(0, 1)
    assert report.damaged == 1


def test_a_newer_format_is_refused(written):
    path, _ = written
    data = bytearray(path.read_bytes())
    data[8] = 2
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as refused:
        read(path)
    assert refused.value.code == "newer-format"


@pytest.mark.parametrize("content", [b"PAR1 something else", b"x", b"penslog!0000", b"\0" * 100])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "x.seg").write_bytes(content)
    with pytest.raises(InvalidInput) as refused:
        read(tmp_path / "x.seg")
    assert refused.value.code == "not-a-segment"


def test_a_segment_is_closed_when_nobody_writes_it(tmp_path):
    writer = SegmentWriter(tmp_path, segment_name(3, 1e9, 7))
    writer.append(FRAMES)
    (segment,) = list_segments(tmp_path)
    assert (segment.closed, segment.size, segment.name) == (False, writer.size, segment_name(3, 1e9, 7))
    # Looking takes no lock that a second look would find.
    assert not list_segments(tmp_path)[0].closed
    writer.close()
    assert list_segments(tmp_path)[0].closed


def test_a_segment_of_a_killed_process_is_closed(tmp_path):
    program = (
        "import sys, pathlib; from penstock.predlog.segment import *;"
        "w = SegmentWriter(pathlib.Path(sys.argv[1]), segment_name(0, 0, 1)); print('written', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        assert not list_segments(tmp_path)[0].closed
        process.kill()
        process.wait()
        assert list_segments(tmp_path)[0].closed


def test_segments_are_listed_in_the_order_of_their_beginning(tmp_path):
    names = [segment_name(1, 5.0, 2), segment_name(0, 1e9, 1), segment_name(0, 5.0, 9), segment_name(10, 5.5, 1)]
    for name in names:
        SegmentWriter(tmp_path, name).close()
    for other in ("notes.txt", "0-20010909T014640.000Z-000001.seg.new", "x-20010909T014640.000Z-000001.seg"):
        (tmp_path / other).write_text("")
    assert [one.name for one in list_segments(tmp_path)] == [names[i] for i in (2, 0, 3, 1)]


def test_no_folder_has_no_segments(tmp_path):
    assert list_segments(tmp_path / "none") == []


@given(st.integers(0, 999), st.floats(0, 4e9), st.integers(0, 10**9))
def test_a_name_comes_back(loop, started_s, sequence):
    name = segment_name(loop, started_s, sequence)
    assert parse_segment_name(str(name)) == name


def test_files_are_their_owners_alone(tmp_path):
    writer = SegmentWriter(tmp_path, segment_name(0, 0, 1))
    writer.close()
    assert writer.path.stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_whole_blocks(tmp_path):
    writer = SegmentWriter(tmp_path, segment_name(0, 0, 1))
    writer.append(FRAMES[:1])
    with pytest.raises(OSError, match="File too large"):
        _limited(writer, writer.size + 100, FRAMES[1:])
    writer.append(FRAMES[3:])
    writer.close()
    got, report = read(writer.path)
    assert got == ids(0, 3)
    assert report == SegmentReport(blocks=2, records=5)


def _limited(writer, limit, frames):
    """Append where no file may grow beyond `limit`: part of it is written, then the call fails."""
    import resource
    import signal

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        writer.append(frames)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_two_writers_never_share_a_segment(tmp_path):
    first = SegmentWriter(tmp_path, segment_name(0, 0, 1))
    descriptor = os.open(first.path, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    first.close()
