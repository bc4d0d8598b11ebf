"""Closed segments become Parquet files of the table, each record exactly once.

The names of a segment's parts follow from the segment, and its parts from its bytes. So a compaction that was killed is
simply done again: what it had stored is replaced by the same, and the segment goes only when every part is stored.
Who reads both leaves out the parts of the segments that are still there (`source_of`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from penstock.core.errors import Conflict, PenstockError, Unavailable
from penstock.predlog.record import Block
from penstock.predlog.segment import Segment, SegmentReport, list_segments, read_segment
from penstock.predlog.table_parts import source_of, write_parts
from penstock.predlog.table_store import TableStore
from penstock.predlog.table_views import LogPlaces

DAMAGED = ".damaged"
_SCRATCH = "compact-"


class Compaction(msgspec.Struct, frozen=True, kw_only=True):
    """What one compaction did: segments and batches of outcomes that are in the table now.

    `waiting` files stay for the next one; `problems` says why, a line each. `damaged` counts blocks and outcomes that
    could not be read; their files are kept beside the log, as `NAME.seg.damaged` and `damaged-NAME`.
    """

    segments: int = 0
    parts: int = 0
    rows: int = 0
    batches: int = 0
    damaged: int = 0
    waiting: int = 0
    problems: tuple[str, ...] = ()


def compact_all(places: LogPlaces) -> Compaction:
    """Move all nodes' closed segments and all outcomes of this machine into the table; see `compact`."""
    done = Compaction()
    for folder in places.segments:
        done = _plus(done, compact(folder, places.table))
    moved = places.outcomes.forward(places.table)
    problems = (moved.problem,) if moved.problem else ()
    outcomes = Compaction(batches=moved.batches, damaged=moved.damaged, waiting=moved.waiting, problems=problems)
    return _plus(done, outcomes)


def compact(folder: Path, store: TableStore) -> Compaction:
    """Move every closed segment of `folder` into the table.

    A segment that cannot be read stays, and the others go on. When the store is away or a disk is full, everything
    stays that is not in the table yet. Raises Conflict (`log-busy`) while another compaction works on these segments.
    """
    done = Compaction()
    with _alone(folder):
        for left in folder.glob(f"{_SCRATCH}*/"):
            # Whoever holds the lock works alone: this is what a killed one left.
            shutil.rmtree(left, ignore_errors=True)
        closed = [segment for segment in list_segments(folder) if segment.closed]
        for number, segment in enumerate(closed):
            try:
                done = _plus(done, _move(segment, store))
            except FileNotFoundError:
                # Retention took it: the log had no room left.
                continue
            except Unavailable as error:
                # The store, or the disk: it would fail the others just so.
                rest = len(closed) - number
                return _plus(done, Compaction(waiting=rest, problems=(str(error),)))
            except PenstockError as error:
                done = _plus(done, Compaction(waiting=1, problems=(f"{segment.path.name}: {error}",)))
    return done


def _move(segment: Segment, store: TableStore) -> Compaction:
    report = SegmentReport()
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=segment.path.parent) as scratch:
        parts = write_parts(_blocks(segment.path, report), source_of(segment.path), Path(scratch))
        for part in parts:
            store.put(part.key, part.path)
    # Only now, and in one step: a kill before it leaves parts that will be replaced, a kill after it leaves nothing.
    if report.damaged:
        segment.path.rename(segment.path.with_name(segment.path.name + DAMAGED))
    else:
        segment.path.unlink(missing_ok=True)
    return Compaction(segments=1, parts=len(parts), rows=sum(part.rows for part in parts), damaged=report.damaged)


def _blocks(path: Path, report: SegmentReport) -> Iterator[Block]:
    return (block for _, block in read_segment(path, report=report))


def _plus(first: Compaction, second: Compaction) -> Compaction:
    values = msgspec.structs.astuple
    return Compaction(
        **{
            name: one + other
            for name, one, other in zip(Compaction.__struct_fields__, values(first), values(second), strict=True)
        }
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The lock ends with the process, however that ends. A folder that is not there has nothing to compact."""
    try:
        handle = os.open(folder / "compact.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("log-busy", f"{folder} is being compacted by another process", hint="wait for it") from None
    finally:
        os.close(handle)
