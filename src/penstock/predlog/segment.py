r"""Segments: append-only files of blocks. One event loop writes one at a time, anybody may read while it does.

    segment   "penslog\0", 4 bytes format (little-endian), then blocks
    block     "blk\1", 4 bytes length, 4 bytes CRC-32 of the payload, 4 bytes CRC-32 of these twelve, payload

What a kill cuts off is a tail shorter than its header says. The header has a checksum of its own so that a damaged
payload can be stepped over, and a damaged header be told from a good one when looking for the next block.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import msgspec

from penstock.core.errors import InvalidInput
from penstock.predlog.record import Block, decode_block

FORMAT = 1
MAGIC = b"penslog\0"
MARK = b"blk\1"
HEADER_BYTES = len(MAGIC) + 4
BLOCK_HEADER_BYTES = 16
_NAME = re.compile(r"(\d+)-(\d{8}T\d{6}\.\d{3}Z)-(\d{6,})\.seg")
_READ_BYTES = 1 << 20


class SegmentName(msgspec.Struct, frozen=True, order=True):
    """What a file's name says: when it was begun, by which event loop, and which of that loop's segments it is."""

    start: str
    loop: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.loop}-{self.start}-{self.sequence:06}.seg"


def segment_name(loop: int, started_s: float, sequence: int) -> SegmentName:
    """The name of a segment begun at `started_s` (seconds since 1970).

    Example:
        >>> str(segment_name(0, 0.0, 12))
        '0-19700101T000000.000Z-000012.seg'
    """
    moment = datetime.fromtimestamp(started_s, UTC)
    return SegmentName(f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z", loop, sequence)


def parse_segment_name(name: str) -> SegmentName | None:
    """The opposite of `str(segment_name(…))`; None for a file that is no segment."""
    found = _NAME.fullmatch(name)
    return SegmentName(found[2], int(found[1]), int(found[3])) if found else None


class Segment(msgspec.Struct, frozen=True):
    """One segment in a folder. `closed` is false while the process that writes it lives."""

    path: Path
    name: SegmentName
    size: int
    closed: bool


class SegmentReport(msgspec.Struct):
    """What a reader found: whole blocks and their records, blocks that were damaged, whether the tail is torn."""

    blocks: int = 0
    records: int = 0
    damaged: int = 0
    torn: bool = False


class SegmentWriter:
    """One open segment. A lock on the file tells readers that it may still grow; the kernel drops it with the process.

    Raises OSError from everything: what to do about a full disk is not the file's decision.
    """

    def __init__(self, folder: Path, name: SegmentName) -> None:
        self.path = folder / str(name)
        partial = self.path.with_suffix(".new")
        self._file = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = 0
            self._append(MAGIC + FORMAT.to_bytes(4, "little"))
            # Only now: a reader must never see a segment that is neither locked nor whole.
            partial.rename(self.path)
        except OSError:
            partial.unlink(missing_ok=True)
            os.close(self._file)
            raise

    def append(self, frames: list[bytes]) -> int:
        """Write blocks with one call of the system, or none of them; returns the bytes written."""
        parts: list[bytes] = []
        for frame in frames:
            head = MARK + struct.pack("<II", len(frame), crc32(frame))
            parts += (head, crc32(head).to_bytes(4, "little"), frame)
        return self._append(b"".join(parts))

    def _append(self, data: bytes) -> int:
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, memoryview(data)[written:] if written else data)
        except OSError:
            # Half a block is worth nothing, and what is appended later would stand behind it.
            os.ftruncate(self._file, self.size)
            raise
        self.size += written
        return written

    def close(self) -> None:
        """No more is written; the lock goes with the file."""
        os.close(self._file)


def list_segments(folder: Path) -> list[Segment]:
    """The segments of one node, in the order in which they were begun; none if there is no such folder.

    A segment that another process removes meanwhile is left out.
    """
    try:
        named = [(name, path) for path in folder.iterdir() if (name := parse_segment_name(path.name))]
    except FileNotFoundError:
        return []
    return [segment for name, path in sorted(named) if (segment := _segment(path, name)) is not None]


def _segment(path: Path, name: SegmentName) -> Segment | None:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        closed = _is_free(file)
        # After the lock: the size of a closed segment is final.
        return Segment(path, name, os.fstat(file).st_size, closed)
    finally:
        os.close(file)


def _is_free(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_segment(path: Path, offset: int = 0, report: SegmentReport | None = None) -> Iterator[tuple[int, Block]]:
    """Each whole block from `offset` on, with the offset where it ends; go on from there when the segment has grown.

    Damaged blocks are stepped over and counted in `report`, a torn tail ends the reading. Raises InvalidInput for a
    file that is no segment (`not-a-segment`) or of a newer format (`newer-format`), FileNotFoundError for none.
    """
    report = report if report is not None else SegmentReport()
    with path.open("rb") as file:
        if not _check_header(file, path, report):
            return
        at = max(offset, HEADER_BYTES)
        while True:
            length, checksum = _block_header(file, at) or (-1, 0)
            if length < 0:
                found = _next_block(file, at)
                size = os.fstat(file.fileno()).st_size
                if found is None:
                    report.torn = report.torn or at < size
                    return
                report.damaged += 1
                at = found
                continue
            payload = file.read(length)
            if len(payload) < length:
                report.torn = True
                return
            at += BLOCK_HEADER_BYTES + length
            if crc32(payload) != checksum:
                report.damaged += 1
                continue
            try:
                block = decode_block(payload)
            except InvalidInput as error:
                if error.code == "newer-format":
                    raise
                report.damaged += 1
                continue
            report.blocks += 1
            report.records += len(block)
            yield at, block


def _check_header(file: BinaryIO, path: Path, report: SegmentReport) -> bool:
    """Whether blocks may follow; a header that was cut off has none behind it."""
    head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES and MAGIC.startswith(head[: len(MAGIC)]):
        report.torn = True
        return False
    if not head.startswith(MAGIC):
        raise InvalidInput("not-a-segment", f"{path} is no segment of a prediction log")
    version = int.from_bytes(head[len(MAGIC) :], "little")
    if version > FORMAT:
        raise InvalidInput(
            "newer-format", f"{path} has format {version}, this is {FORMAT}", hint="upgrade Penstock where it is read"
        )
    return True


def _block_header(file: BinaryIO, at: int) -> tuple[int, int] | None:
    """Length and checksum of the payload of the block at `at`, or None; the file then stands at the payload."""
    file.seek(at)
    return _parse_block_header(file.read(BLOCK_HEADER_BYTES))


def _parse_block_header(head: bytes) -> tuple[int, int] | None:
    if len(head) < BLOCK_HEADER_BYTES or not head.startswith(MARK):
        return None
    length, checksum, own = struct.unpack("<III", head[len(MARK) :])
    return (length, checksum) if crc32(head[:12]) == own else None


def _next_block(file: BinaryIO, at: int) -> int | None:
    """Where the next good header behind `at` begins, or None."""
    file.seek(at)
    data = b""
    while more := file.read(_READ_BYTES):
        data += more
        found = data.find(MARK)
        while found >= 0:
            if found and _parse_block_header(data[found : found + BLOCK_HEADER_BYTES]) is not None:
                return at + found
            if found + BLOCK_HEADER_BYTES > len(data):
                break
            found = data.find(MARK, found + 1)
        # A header may lie across two pieces.
        keep = max(len(data) - BLOCK_HEADER_BYTES, 0)
        at, data = at + keep, data[keep:]
    return None
