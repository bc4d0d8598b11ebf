"""Counters and gauges of one process in shared memory, so that any process can answer for the whole node.

Each process of a node writes its own file and reads all of them; a write is one store into mapped memory. A series is
a row of 64-bit cells; what its labels are stands in a JSON file beside it, replaced as a whole. A crashed process's
counts stay: its successor goes on with the same file.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from pathlib import Path

import msgspec

from penstock.predlog.recorder import RecordCounts

CAPACITY = 1024

STATUSES = (200, 400, 403, 404, 413, 415, 429, 499, 500, 501, 503, 504)
LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
BATCH_BUCKETS_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Cells of a series, in order. Durations are in microseconds.
REQUESTS = 0
LATENCY = REQUESTS + len(STATUSES) + 1
LATENCY_SUM_US = LATENCY + len(LATENCY_BUCKETS_S) + 1
BATCHES = LATENCY_SUM_US + 1
BATCH_ROWS_SUM = BATCHES + len(BATCH_BUCKETS_ROWS) + 1
ROWS = BATCH_ROWS_SUM + 1
MODEL_US = ROWS + 1
CACHE_HITS = MODEL_US + 1
CACHE_MISSES = CACHE_HITS + 1
# Gauges: true for this moment, so a restarted process begins with zeros.
WAITING_ROWS = CACHE_MISSES + 1
RUNNING_ROWS = WAITING_ROWS + 1
LOAD_US = RUNNING_ROWS + 1
WORKER_RESTARTS = LOAD_US + 1
SHADOW_DROPS = WORKER_RESTARTS + 1
WIDTH = SHADOW_DROPS + 1

# Cells of the process itself, before the first series.
ACCEPTED, ANSWERED, READY, GENERATION, PID, LOGS_DROPPED, RECORDED, RECORDED_BYTES, RECORDS_DROPPED = range(9)
HEADER = 16
_SIZE = (HEADER + CAPACITY * WIDTH) * 8

_STATUS_INDEX = {status: index for index, status in enumerate(STATUSES)}


class Labels(msgspec.Struct, frozen=True, order=True, omit_defaults=True):
    """What one series counts; of a shadow `arm` is its name."""

    endpoint: str
    arm: str
    version: str
    shadow: bool = False


class Board:
    """The file of one process, `process-<index>` in the node's run folder; `record` is on the hot path."""

    def __init__(self, directory: Path, index: int) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.index = index
        self._path = directory / f"process-{index}"
        self._labels_path = directory / f"process-{index}.json"
        if self._path.exists() and self._path.stat().st_size != _SIZE:
            # Of another release, whose cells have other places.
            self._path.unlink()
            self._labels_path.unlink(missing_ok=True)
        self.cells = _map(self._path, create=True)
        self._series: dict[Labels, int] = _read_labels(self._labels_path)
        self._free = sorted(set(range(CAPACITY)) - set(self._series.values()), reverse=True)
        # Those of an earlier run count on when their version is served again; until then their room may be taken.
        self._retired: list[Labels] = list(self._series)
        self._zero_gauges()
        self._recorded = self.cells[RECORDED : RECORDS_DROPPED + 1].tolist()

    def series(self, labels: Labels) -> int:
        """The first cell of the series, which is made if it does not exist."""
        if labels in self._retired:
            self._retired.remove(labels)
        if labels not in self._series:
            if not self._free:
                self._free.append(self._series.pop(self._retired.pop(0)))
            slot = self._free.pop()
            start = HEADER + slot * WIDTH
            for cell in range(start, start + WIDTH):
                self.cells[cell] = 0
            self._series[labels] = slot
            self._write_labels()
        return HEADER + self._series[labels] * WIDTH

    def retire(self, labels: Labels) -> None:
        """The version is gone. Its counts stay on the page until the room is needed, so that no scrape misses them."""
        if labels not in self._retired:
            self._retired.append(labels)
            self._zero(self._series[labels])

    def record(self, start: int, status: int, seconds: float, rows: int) -> None:
        """Count one answered request."""
        cells = self.cells
        cells[start + _STATUS_INDEX.get(status, len(STATUSES))] += 1
        cells[start + LATENCY + bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        cells[start + LATENCY_SUM_US] += int(seconds * 1e6)
        cells[start + ROWS] += rows

    def record_batch(self, start: int, rows: int, seconds: float) -> None:
        """Count one batch, and how long the model took for it."""
        cells = self.cells
        cells[start + BATCHES + bisect_left(BATCH_BUCKETS_ROWS, rows)] += 1
        cells[start + BATCH_ROWS_SUM] += rows
        cells[start + MODEL_US] += int(seconds * 1e6)

    def count_records(self, counts: RecordCounts) -> None:
        """Show what has become of prediction records; `counts` begin at 0 with the process, the board does not."""
        recorded, recorded_bytes, dropped = self._recorded
        self.cells[RECORDED] = recorded + counts.recorded
        self.cells[RECORDED_BYTES] = recorded_bytes + counts.recorded_bytes
        self.cells[RECORDS_DROPPED] = dropped + counts.dropped

    def _zero_gauges(self) -> None:
        self.cells[READY] = self.cells[GENERATION] = 0
        self.cells[PID] = os.getpid()
        for slot in self._series.values():
            self._zero(slot)

    def _zero(self, slot: int) -> None:
        start = HEADER + slot * WIDTH
        self.cells[start + WAITING_ROWS] = self.cells[start + RUNNING_ROWS] = 0

    def _write_labels(self) -> None:
        entries = [(labels, slot) for labels, slot in self._series.items()]
        partial = self._labels_path.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(entries))
        partial.replace(self._labels_path)


class Boards:
    """All processes' files, read by whichever of them is asked."""

    def __init__(self, directory: Path, processes: int) -> None:
        self._directory = directory
        self._processes = processes
        self._cells: dict[int, memoryview] = {}

    def each(self) -> list[memoryview]:
        """The cells of every process that has started."""
        for index in range(self._processes):
            path = self._directory / f"process-{index}"
            if index not in self._cells and path.exists():
                self._cells[index] = _map(path, create=False)
        return list(self._cells.values())

    def all_ready(self) -> bool:
        """Whether every process has loaded the routes and takes calls."""
        boards = self.each()
        return len(boards) == self._processes and all(cells[READY] for cells in boards)

    def any_ready(self) -> bool:
        """Whether some process takes calls."""
        return any(cells[READY] for cells in self.each())

    def totals(self) -> dict[Labels, list[int]]:
        """Each series summed over the processes."""
        totals: dict[Labels, list[int]] = {}
        self.each()
        for index, cells in self._cells.items():
            for labels, slot in _read_labels(self._directory / f"process-{index}.json").items():
                start = HEADER + slot * WIDTH
                row = cells[start : start + WIDTH].tolist()
                totals[labels] = [a + b for a, b in zip(totals[labels], row, strict=True)] if labels in totals else row
        return totals

    def others(self, labels: Labels, own: Board, gauges: tuple[int, ...]) -> int:
        """Gauges of one series summed over the other processes."""
        if self._processes == 1:
            return 0
        total = 0
        for index, cells in enumerate(self.each()):
            if index == own.index:
                continue
            slot = _read_labels(self._directory / f"process-{index}.json").get(labels)
            if slot is not None:
                start = HEADER + slot * WIDTH
                total += sum(cells[start + gauge] for gauge in gauges)
        return total

    def process_total(self, cell: int) -> int:
        """One process-wide cell summed over the processes."""
        return sum(cells[cell] for cells in self.each())


def _map(path: Path, create: bool) -> memoryview:
    descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    try:
        if os.fstat(descriptor).st_size < _SIZE:
            os.ftruncate(descriptor, _SIZE)
        return memoryview(mmap.mmap(descriptor, _SIZE)).cast("q")
    finally:
        os.close(descriptor)


def _read_labels(path: Path) -> dict[Labels, int]:
    try:
        return dict(msgspec.json.decode(path.read_bytes(), type=list[tuple[Labels, int]]))
    except FileNotFoundError:
        return {}
