"""The log as SQL sees it: the views `predictions`, `outcomes` and `joined`, as of now or of any past time.

They are over the table's files and over what is not in the table yet, so that a record is there as soon as a node wrote
it. What is in both (a compaction was killed, or ended just now) is taken from one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import msgspec

from penstock.core.errors import InvalidInput
from penstock.predlog.outcome_spool import FOLDER as OUTCOMES
from penstock.predlog.outcome_spool import OutcomeSpool
from penstock.predlog.outcomes import COLUMNS
from penstock.predlog.record import Block
from penstock.predlog.segment import list_segments, read_segment
from penstock.predlog.table_engine import engine_errors, literal, open_engine, quoted
from penstock.predlog.table_kinds import Schema, cast_columns, common_kinds
from penstock.predlog.table_parts import FOLDER as PREDICTIONS
from penstock.predlog.table_parts import PartName, parse_part, source_of, write_parts
from penstock.predlog.table_rows import RECORD_COLUMNS
from penstock.predlog.table_store import TableStore, open_table_store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST_NAMES = 200


class LogPlaces(msgspec.Struct, frozen=True):
    """Where the log is: a folder of segments per node, the table, the outcomes not yet in it, a folder for scratch."""

    segments: tuple[Path, ...]
    table: TableStore
    outcomes: OutcomeSpool
    cache: Path
    nodes: Path | None = None

    def again(self) -> LogPlaces:
        """The same places with the folders of nodes that are there by now."""
        return self if self.nodes is None else msgspec.structs.replace(self, segments=_segment_folders(self.nodes))


def _segment_folders(nodes: Path) -> tuple[Path, ...]:
    return tuple(sorted(path for path in nodes.iterdir() if path.is_dir())) if nodes.is_dir() else ()


def open_places(home: Path, address: str = "") -> LogPlaces:
    """The log of a home: segments in `predlog/NODE`, the table at `address`, a folder or `s3://BUCKET/PREFIX`.

    Nothing is created or contacted yet. Raises what `open_table_store` raises.
    """
    nodes = home / "predlog"
    return LogPlaces(
        segments=_segment_folders(nodes),
        table=open_table_store(address or home / "log"),
        outcomes=OutcomeSpool(home / "outcomes"),
        cache=home / "log-cache",
        nodes=nodes,
    )


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of the log is meant. Times in seconds since 1970: from `since` on, before `until`.

    With `as_of` the views are what they were then: neither predictions nor outcomes that came later.
    """

    endpoint: str = ""
    since: float | None = None
    until: float | None = None
    as_of: float | None = None


EVERYTHING = Selection()


class Views(msgspec.Struct, frozen=True):
    """A DuckDB with the views in it. `files` are all it reads, `warnings` says what of the log could not be read."""

    engine: DuckDBPyConnection
    files: tuple[Path, ...]
    warnings: tuple[str, ...]


@contextmanager
def open_views(places: LogPlaces, selection: Selection = EVERYTHING) -> Iterator[Views]:
    """The views, while the context lasts; raises Unavailable (`log-unavailable`, `disk-full`) and NotFound."""
    places.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="query-", dir=places.cache) as folder:
        scratch = Path(folder)
        spill = scratch / "spill"
        # DuckDB lets queries read its own scratch; nothing else may lie there.
        for name in ("spill", "fresh", "outcomes"):
            (scratch / name).mkdir()
        predictions, warnings = _predictions(places, selection, scratch / "fresh")
        outcomes = _outcomes(places, scratch / "outcomes")
        engine = open_engine(spill, memory_mb=768)
        try:
            with engine_errors("opening the log"):
                engine.execute(f"CREATE VIEW predictions AS {_predictions_sql(engine, predictions, selection)}")
                engine.execute(f"CREATE VIEW outcomes AS {_outcomes_sql(outcomes, selection)}")
                engine.execute(f"CREATE VIEW joined AS {_joined_sql(_names(engine, outcomes))}")
            yield Views(engine, (*predictions, *outcomes), warnings)
        finally:
            engine.close()


def _predictions(places: LogPlaces, selection: Selection, fresh: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files, the fresh ones first made from segments: a segment that goes meanwhile is in the table by then."""
    read: set[str] = set()
    files: list[Path] = []
    warnings: list[str] = []
    for folder in places.segments:
        for segment in list_segments(folder):
            try:
                source = source_of(segment.path)
                parts = write_parts(_selected(segment.path, selection), source, fresh)
            except FileNotFoundError:
                continue
            except InvalidInput as error:
                warnings.append(f"{segment.path.name}: {error}")
                continue
            read.add(source)
            files += [part.path for part in parts]
    for key in places.table.keys(PREDICTIONS):
        part = parse_part(PurePosixPath(key))
        if part is not None and part.source not in read and _may_hold(part, selection):
            files.append(places.table.local(key, places.cache / "parts"))
    return files, tuple(warnings)


def _selected(path: Path, selection: Selection) -> Iterator[Block]:
    """The blocks that may hold what is asked for; the views look at each row."""
    until = _before(selection)
    for _, block in read_segment(path):
        if selection.endpoint not in ("", block.endpoint) or not len(block):
            continue
        if selection.since is not None and block.time_us.max() < selection.since * 1e6:
            continue
        if until is not None and block.time_us.min() > until * 1e6:
            continue
        yield block


def _may_hold(part: PartName, selection: Selection) -> bool:
    """Whether a file of this endpoint and day may hold what is asked for."""
    until = _before(selection)
    return (
        selection.endpoint in ("", part.endpoint)
        and (selection.since is None or part.date >= _day(selection.since))
        and (until is None or part.date <= _day(until))
    )


def _outcomes(places: LogPlaces, into: Path) -> list[Path]:
    files = places.outcomes.snapshot(into)
    here = {path.name for path in files}
    keys = [key for key in places.table.keys(OUTCOMES) if PurePosixPath(key).name not in here]
    return files + [places.table.local(key, places.cache / "parts") for key in keys]


def _predictions_sql(engine: DuckDBPyConnection, files: Sequence[Path], selection: Selection) -> str:
    if not files:
        empty = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in RECORD_COLUMNS.items())
        return f"SELECT NULL::VARCHAR AS endpoint, {empty} WHERE false"
    conditions = ["true"]
    if selection.endpoint:
        conditions.append(f"endpoint = {literal(selection.endpoint)}")
    if selection.since is not None:
        conditions.append(f"time >= {_timestamp(selection.since)}")
    if selection.until is not None:
        conditions.append(f"time < {_timestamp(selection.until)}")
    if selection.as_of is not None:
        conditions.append(f"time <= {_timestamp(selection.as_of)}")
    alike: dict[str, list[Path]] = {}
    for path in files:
        part = parse_part(path)
        alike.setdefault(part.schema if part else "", []).append(path)
    schemas = [_schema(engine, paths[0]) for paths in alike.values()]
    kinds = common_kinds(schemas)
    options = "hive_partitioning = true, hive_types = {endpoint: VARCHAR, date: DATE}"
    selects = [
        f"SELECT endpoint, {cast_columns(schema, kinds)}{_absent(schema)}"  # noqa: S608 - literals are quoted
        f" FROM read_parquet([{_listed(paths)}], {options}) WHERE {' AND '.join(conditions)}"
        for schema, paths in zip(schemas, alike.values(), strict=True)
    ]
    return " UNION ALL BY NAME ".join(selects)


def _absent(schema: Schema) -> str:
    """The columns that files did not have when these were written, empty."""
    there = {name for name, _ in schema}
    return "".join(f", NULL::{kind} AS {name}" for name, kind in RECORD_COLUMNS.items() if name not in there)


def _schema(engine: DuckDBPyConnection, path: Path) -> Schema:
    described = engine.execute(
        f"DESCRIBE FROM read_parquet({literal(str(path))}, hive_partitioning = false)"
    ).fetchall()
    return tuple((str(row[0]), str(row[1])) for row in described)


def _outcomes_sql(files: Sequence[Path], selection: Selection) -> str:
    """Every outcome once: told again with the time when it was observed, it is what it was when it was first told."""
    if not files:
        return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in COLUMNS.items())} WHERE false"
    condition = "true" if selection.as_of is None else f"received_at <= {_timestamp(selection.as_of)}"
    return f"""
        SELECT request_id, row, name, kind, number, text, observed_at,
               min(received_at) AS received_at, arg_min(position, (received_at, position)) AS position
        FROM read_parquet([{_listed(files)}]) WHERE {condition}
        GROUP BY request_id, row, name, kind, number, text, observed_at,
                 CASE WHEN observed_at IS NULL THEN (received_at, position) END"""  # noqa: S608 - literals are quoted


def _names(engine: DuckDBPyConnection, files: Sequence[Path]) -> list[tuple[str, bool, bool]]:
    """Every name there ever was, and whether all its values are numbers, and truths: not only of those known by then.

    A question as of a time before the first outcome must find the column, empty.
    """
    if not files:
        return []
    names = engine.execute(
        "SELECT name, bool_and(kind = 'number'), bool_and(kind = 'bool')"  # noqa: S608 - literals are quoted
        f" FROM read_parquet([{_listed(files)}]) GROUP BY name ORDER BY name"
    ).fetchall()
    if len(names) > _MOST_NAMES:
        raise InvalidInput("invalid-query", f"there are {len(names)} names of outcomes, more than {_MOST_NAMES}")
    return names


def _joined_sql(names: Sequence[tuple[str, bool, bool]]) -> str:
    """Each prediction once, with the last outcome of each name: a column each, of a type that all its values have."""
    columns = [f"last_{number}.value AS {quoted(f'outcome.{name[0]}')}" for number, name in enumerate(names)]
    joins = [
        f"LEFT JOIN (SELECT request_id, row, arg_max({_value(*kinds)}, (received_at, position)) AS value"  # noqa: S608
        f" FROM outcomes WHERE name = {literal(name)} GROUP BY request_id, row) AS last_{number}"
        f" ON predictions.request_id = last_{number}.request_id AND predictions.row = last_{number}.row"
        for number, (name, *kinds) in enumerate(names)
    ]
    return f"SELECT {', '.join(['predictions.*', *columns])} FROM predictions {' '.join(joins)}"  # noqa: S608


def _value(numbers: bool, bools: bool) -> str:
    return "number" if numbers else "number = 1" if bools else "text"


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(literal(str(path)) for path in files)


def _timestamp(seconds: float) -> str:
    return f"make_timestamp({round(seconds * 1e6)})"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _before(selection: Selection) -> float | None:
    return min((end for end in (selection.until, selection.as_of) if end is not None), default=None)
