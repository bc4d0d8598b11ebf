"""Outcomes in bulk: CSV, Parquet or JSON lines.

Columns are `request_id`, `value` and, where wanted, `row`, `name` and `observed_at`. A file is taken whole or not at
all; what is wrong is told with its row, counted from 1 without the line of names.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from penstock.core.errors import InvalidInput, NotFound, Unsupported
from penstock.predlog.outcomes import Outcome, check_outcome, outcome_from, read_value
from penstock.predlog.table_engine import literal, open_engine, quoted

_FIELDS = Outcome.__struct_fields__
_NEEDED = ("request_id", "value")
_MOST_TOLD = 5
_ROWS_AT_ONCE = 20_000

Row = tuple[list[str], Any]
"""The names of the columns, where the file has them once, and what stands in the row."""


def read_outcomes(path: Path, name: str = "") -> Iterator[Outcome]:
    """The outcomes in a file, in their order; `name` is that of rows without one (else `label`).

    Raises NotFound (`unknown-file`), Unsupported (`unsupported-outcomes`) for another kind of file, and InvalidInput
    (`invalid-outcomes`) that names the first rows that are wrong; what came before them is then not to be used.
    """
    kind = _KINDS.get(path.suffix.lower())
    if not path.is_file():
        raise NotFound("unknown-file", f"there is no file {path}", hint="check the path")
    if kind is None:
        raise Unsupported("unsupported-outcomes", f"{path.name} is no kind of file we read", hint=", ".join(_KINDS))
    rows, outcome_of = kind
    defaults = {"name": name} if name else {}
    wrong: list[str] = []
    try:
        for number, row in enumerate(rows(path), 1):
            try:
                outcome = outcome_of(row, defaults)
            except InvalidInput as error:
                wrong.append(f"row {number}: {error.message}")
                if len(wrong) == _MOST_TOLD:
                    break
                continue
            if not wrong:
                yield outcome
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _invalid(path, f"it cannot be read: {error}") from None
    if wrong:
        more = ", and maybe more" if len(wrong) == _MOST_TOLD else ""
        raise _invalid(path, "; ".join(wrong) + more)


def _csv_rows(path: Path) -> Iterator[Row]:
    # utf-8-sig: spreadsheets write a mark before the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        columns = next(reader, [])
        _check_columns(path, columns)
        yield from ((columns, cells) for cells in reader if cells)


def _from_cells(row: Row, defaults: dict[str, Any]) -> Outcome:
    columns, cells = row
    if len(cells) != len(columns):
        raise InvalidInput("invalid-outcome", f"{len(cells)} cells under {len(columns)} columns")
    fields = dict(zip(columns, cells, strict=True))
    value = fields.pop("value")
    if not value:
        raise InvalidInput("invalid-outcome", "the value is empty")
    # An empty cell is one that was left out; the id and the value cannot be.
    given = {name: text for name, text in fields.items() if text or name == "request_id"}
    if given.keys() == {"request_id"} and not defaults:
        return check_outcome(Outcome(request_id=given["request_id"], value=read_value(value)))
    return outcome_from(defaults | given | {"value": read_value(value)})


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from (([], line) for line in file if line.strip())


def _from_line(row: Row, defaults: dict[str, Any]) -> Outcome:
    line: bytes = row[1]
    try:
        if defaults:
            return outcome_from(defaults | msgspec.json.decode(line, type=dict[str, Any]))
        return check_outcome(msgspec.json.decode(line, type=Outcome))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("invalid-outcome", str(error)) from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    import duckdb

    with tempfile.TemporaryDirectory(prefix="outcomes-") as scratch:
        engine = open_engine(Path(scratch), memory_mb=256)
        try:
            source = f"read_parquet({literal(str(path.absolute()))})"
            described = engine.execute(f"DESCRIBE FROM {source}").fetchall()
            columns = [str(row[0]) for row in described]
            _check_columns(path, columns)
            # Python needs a library of time zones to take a time with one; UTC without its name it takes alone.
            engine.execute("SET TimeZone = 'UTC'")
            timed = {str(row[0]) for row in described if "TIME ZONE" in str(row[1])}
            asked = [f"{quoted(name)}::TIMESTAMP" if name in timed else quoted(name) for name in columns]
            engine.execute(f"SELECT {', '.join(asked)} FROM {source}")  # noqa: S608 - names and literals are quoted
            while rows := engine.fetchmany(_ROWS_AT_ONCE):
                yield from ((columns, row) for row in rows)
        except duckdb.Error as error:
            raise _invalid(path, f"it cannot be read: {str(error).partition(chr(10))[0][:300]}") from None
        finally:
            engine.close()


def _from_values(row: Row, defaults: dict[str, Any]) -> Outcome:
    given = {name: _plain(value) for name, value in zip(*row, strict=True) if value is not None}
    return outcome_from(defaults | given)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    return datetime(value.year, value.month, value.day) if type(value) is date else value


def _check_columns(path: Path, columns: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in columns]
    strange = [name for name in columns if name not in _FIELDS]
    if missing or strange or len(set(columns)) != len(columns):
        told = [f"no column {name!r}" for name in missing] + [f"unknown column {name[:40]!r}" for name in strange]
        raise _invalid(path, ", ".join(told[:_MOST_TOLD]) or "a column twice", hint=f"columns: {', '.join(_FIELDS)}")


def _invalid(
    path: Path, text: str, hint: str = "nothing of it was taken; correct it and give it again"
) -> InvalidInput:
    return InvalidInput("invalid-outcomes", f"{path.name}: {text}", hint=hint)


_KINDS: dict[str, tuple[Callable[[Path], Iterator[Row]], Callable[[Row, dict[str, Any]], Outcome]]] = {
    ".csv": (_csv_rows, _from_cells),
    ".parquet": (_parquet_rows, _from_values),
    ".jsonl": (_lines, _from_line),
    ".ndjson": (_lines, _from_line),
}
