"""The end of the log: the last rows, and those that are being written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from penstock.core.errors import InvalidInput
from penstock.predlog.record import Block
from penstock.predlog.segment import HEADER_BYTES, list_segments, read_segment
from penstock.predlog.table_engine import engine_errors
from penstock.predlog.table_rows import rows_of
from penstock.predlog.table_views import LogPlaces, Selection, open_views


def last_rows(places: LogPlaces, selection: Selection, number: int) -> list[dict[str, Any]]:
    """The `number` latest rows of the view `predictions`, the latest last."""
    with open_views(places, selection) as views, engine_errors("reading the end of the log"):
        found = views.engine.sql("SELECT * FROM predictions ORDER BY time DESC, request_id DESC, row DESC")
        rows = found.limit(number).fetchall()
        return [dict(zip(found.columns, row, strict=True)) for row in reversed(rows)]


class Tail:
    """What is written into the segments of these folders after this was made."""

    def __init__(self, folders: Sequence[Path], endpoint: str = "") -> None:
        self._folders = folders
        self._endpoint = endpoint
        self._offsets = {segment.path: segment.size for folder in folders for segment in list_segments(folder)}

    def new(self) -> Iterator[dict[str, Any]]:
        """The rows since the last time, of whole blocks; of a segment that goes meanwhile, what was read of it."""
        for folder in self._folders:
            for segment in list_segments(folder):
                try:
                    for end, block in read_segment(segment.path, self._offsets.get(segment.path, HEADER_BYTES)):
                        self._offsets[segment.path] = end
                        if self._endpoint in ("", block.endpoint):
                            yield from _dicts(block)
                except (FileNotFoundError, InvalidInput):
                    # Compacted or given up meanwhile, or of a newer format: the others go on.
                    continue


def _dicts(block: Block) -> Iterator[dict[str, Any]]:
    for rows in rows_of(block):
        columns = {name: column.values.tolist() for name, column in rows.columns.items()}
        for values in zip(*columns.values(), strict=True):
            yield {"endpoint": rows.endpoint, **dict(zip(columns, values, strict=True))}
