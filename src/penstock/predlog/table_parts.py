"""Writing rows of the table into Parquet files, one per endpoint, day and schema, in bounded memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import msgspec

from penstock.predlog.record import Block
from penstock.predlog.segment import BLOCK_HEADER_BYTES, HEADER_BYTES
from penstock.predlog.table_engine import engine_errors, literal, open_engine, quoted
from penstock.predlog.table_kinds import schema_mark
from penstock.predlog.table_rows import Rows, engine_columns, joined, rows_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FOLDER = "predictions"
_ROWS_AT_ONCE = 50_000
_PART = re.compile(r"endpoint=([^/]+)/date=([^/]+)/part-([^/]+)-\d+-([0-9a-f]{8})\.parquet")


class Part(msgspec.Struct, frozen=True):
    """One written file, and the key it has in the table."""

    key: str
    path: Path
    rows: int


def part_key(rows: Rows, source: str, number: int) -> str:
    """The name of a part of `source`. It follows from what is in it, so that writing it again replaces it by itself.

    It reads predictions/endpoint=churn/date=2030-01-31/part-SOURCE-NUMBER-SCHEMA.parquet.
    """
    place = f"{FOLDER}/endpoint={rows.endpoint}/date={rows.date}"
    return f"{place}/part-{source}-{number}-{schema_mark(rows.schema)}.parquet"


class PartName(msgspec.Struct, frozen=True):
    """What the name of a part says."""

    endpoint: str
    date: str
    source: str
    schema: str


def parse_part(path: PurePath) -> PartName | None:
    """The opposite of `part_key`; None for a file that is no part of ours.

    Example:
        >>> parse_part(PurePath("endpoint=churn/date=2030-01-31/part-20300131T080000.000Z-0a1b-0-d69a5b8b.parquet"))
        PartName(endpoint='churn', date='2030-01-31', source='20300131T080000.000Z-0a1b', schema='d69a5b8b')
    """
    found = _PART.fullmatch("/".join(path.parts[-3:]))
    return PartName(*found.groups()) if found else None


def source_of(path: Path) -> str:
    """What the names of a segment's parts begin with; it never changes while the segment grows.

    Raises FileNotFoundError when the segment is gone.
    """
    with path.open("rb") as file:
        # The first block's header has the checksum of its bytes. Two nodes may begin segments of one name in one
        # table; they do not begin with the same records.
        head = file.read(HEADER_BYTES + BLOCK_HEADER_BYTES)
    identity = hashlib.sha256(path.name.encode() + b"\0" + head).hexdigest()[:16]
    return f"{path.stem.split('-')[1]}-{identity}"


def write_parts(blocks: Iterable[Block], source: str, into: Path) -> list[Part]:
    """Write the blocks of `source` as Parquet below the folder `into`; the same blocks give the same parts.

    Raises Unavailable (`disk-full`) and whatever reading the blocks raises; nothing of `into` is then to be used.
    """
    writer = _Writer(into)
    try:
        for block in blocks:
            for rows in rows_of(block):
                writer.add(rows)
        return writer.finish(source)
    finally:
        writer.close()


class _Writer:
    """Tables of one schema each, filled from arrays that were joined to a fitting size."""

    def __init__(self, into: Path) -> None:
        self._into = into
        self._engine: DuckDBPyConnection = open_engine(into)
        self._tables: dict[tuple[object, ...], tuple[str, Rows]] = {}
        self._waiting: dict[tuple[object, ...], list[Rows]] = {}

    def add(self, rows: Rows) -> None:
        waiting = self._waiting.setdefault(rows.form, [])
        waiting.append(rows)
        # Over all forms: many endpoints, each with a little, must not add up either.
        if sum(map(len, waiting)) >= _ROWS_AT_ONCE or sum(map(len, self._waiting.values())) >= 4096:
            self._flush()

    def _flush(self) -> None:
        for parts in self._waiting.values():
            rows = joined(parts)
            key = (rows.endpoint, rows.date, rows.schema)
            new = key not in self._tables
            table, _ = self._tables.setdefault(key, (f"part_{len(self._tables)}", rows))
            arrays, expressions = engine_columns(rows)
            with engine_errors("writing the log's table"):
                self._engine.register("arrays", arrays)
                if new:
                    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in rows.schema)
                    self._engine.execute(f"CREATE TABLE {table} ({columns})")
                insert = f"INSERT INTO {table} SELECT {', '.join(expressions)} FROM arrays"  # noqa: S608 - names of ours
                self._engine.execute(insert)
                self._engine.unregister("arrays")
        self._waiting.clear()

    def finish(self, source: str) -> list[Part]:
        self._flush()
        parts = []
        for number, (table, rows) in enumerate(self._tables.values()):
            key = part_key(rows, source, number)
            path = self._into / key
            path.parent.mkdir(parents=True, exist_ok=True)
            with engine_errors(f"writing {path.name}"):
                (count,) = self._engine.execute(
                    f"COPY {table} TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)"
                ).fetchall()[0]
            parts.append(Part(key, path, count))
        return parts

    def close(self) -> None:
        self._engine.close()
