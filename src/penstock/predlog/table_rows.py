"""From a block of records to rows of the table: one row per predicted row, each field a column of its own.

`docs/formats/prediction-table.md` specifies the columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count
from typing import Any

import msgspec
import numpy as np

from penstock.core.digest import canonical_json
from penstock.core.tensors import Array, datatype_of
from penstock.predlog.record import Block

SQL_TYPES = {
    "BOOL": "BOOLEAN",
    "UINT8": "UTINYINT",
    "UINT16": "USMALLINT",
    "UINT32": "UINTEGER",
    "UINT64": "UBIGINT",
    "INT8": "TINYINT",
    "INT16": "SMALLINT",
    "INT32": "INTEGER",
    "INT64": "BIGINT",
    "FP16": "FLOAT",
    "FP32": "FLOAT",
    "FP64": "DOUBLE",
    "BYTES": "VARCHAR",
}

RECORD_COLUMNS = {
    "request_id": "VARCHAR",
    "row": "INTEGER",
    "rows": "INTEGER",
    "time": "TIMESTAMP",
    "arm": "VARCHAR",
    "version": "VARCHAR",
    "bundle": "VARCHAR",
    "latency_us": "BIGINT",
    "status": "SMALLINT",
    "code": "VARCHAR",
    "reason": "VARCHAR",
    "subject": "VARCHAR",
    "unit": "UBIGINT",
    "policy": "VARCHAR",
}
"""The columns that every file has, before those of inputs and outputs."""

_DAY_US = 86_400_000_000
_MANY = 256


class Column(msgspec.Struct, frozen=True, eq=False):
    """One column: its SQL type, and an array of shape [rows], or [rows, elements] where the type is a list."""

    kind: str
    values: Array


class Rows(msgspec.Struct, frozen=True, eq=False):
    """Rows of one endpoint and day (`YYYY-MM-DD`, UTC). Names of columns differ by more than upper and lower case."""

    endpoint: str
    date: str
    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(self.columns["row"].values)

    @property
    def schema(self) -> tuple[tuple[str, str], ...]:
        """Names and SQL types: rows of one schema can be in one file."""
        return tuple((name, column.kind) for name, column in self.columns.items())

    @property
    def form(self) -> tuple[Any, ...]:
        """What must be alike for arrays to be joined: the schema, and how many elements the lists have."""
        return self.endpoint, self.date, self.schema, *(column.values.shape[1:] for column in self.columns.values())


def rows_of(block: Block) -> Iterator[Rows]:
    """The rows of a block, day by day. A failed call has one row, without inputs and outputs."""
    failed = (block.status >= 400) & (not (block.inputs or block.outputs))
    counts = np.where(failed, 1, np.maximum(block.rows, 1))
    fields = {f"input.{name}": array for name, array in block.inputs.items()}
    fields |= {f"output.{name}": array for name, array in block.outputs.items()}
    of_record = np.repeat(np.arange(len(block)), counts)
    row = np.arange(len(of_record)) - np.repeat(np.cumsum(counts) - counts, counts)
    columns = _record_columns(block, of_record, row) | _distinct(
        {name: _field_column(array) for name, array in fields.items()}
    )
    days = (block.time_us // _DAY_US)[of_record]
    for day in np.unique(days):
        here = days == day
        date = str(np.datetime64(int(day), "D"))
        yield Rows(
            block.endpoint,
            date,
            columns
            if here.all()
            else {name: Column(column.kind, column.values[here]) for name, column in columns.items()},
        )


def joined(parts: list[Rows]) -> Rows:
    """Rows of one form, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = {
        name: Column(column.kind, np.concatenate([part.columns[name].values for part in parts]))
        for name, column in first.columns.items()
    }
    return Rows(first.endpoint, first.date, columns)


def _record_columns(block: Block, of_record: Array, row: Array) -> dict[str, Column]:
    policy = canonical_json(block.policy).decode() if block.policy else None
    values: dict[str, Array] = {
        "request_id": _objects(block.ids)[of_record],
        "row": row.astype(np.int32),
        "rows": block.rows[of_record],
        "time": block.time_us.astype(np.int64).view("datetime64[us]")[of_record],
        "arm": _same(block.arm, len(row)),
        "version": _same(block.version, len(row)),
        "bundle": _same(block.bundle, len(row)),
        "latency_us": block.latency_us[of_record],
        "status": block.status[of_record],
        "code": _objects(block.codes)[of_record],
        "reason": _objects(block.reasons)[of_record],
        "subject": _objects(block.subjects)[of_record],
        "unit": _units(block)[of_record],
        "policy": _same(policy, len(row)),
    }
    return {name: Column(kind, values[name]) for name, kind in RECORD_COLUMNS.items()}


def _units(block: Block) -> Array:
    """The units as integers, None for nobody."""
    if block.units is None:
        return _same(None, len(block))
    return _objects([unit or None for unit in block.units.tolist()])


def _field_column(array: Array) -> Column:
    kind = SQL_TYPES[datatype_of(array)]
    if kind == "VARCHAR":
        array = _texts(array)
    if array.ndim == 1:
        return Column(kind, array)
    return Column(kind + "[]", array.reshape(len(array), -1))


def _texts(array: Array) -> Array:
    flat = [value.decode(errors="backslashreplace") if isinstance(value, bytes) else value for value in array.ravel()]
    return _objects(flat).reshape(array.shape)


def _distinct(columns: dict[str, Column]) -> dict[str, Column]:
    # SQL takes Age and age for one column: the second of them gets a number.
    seen: set[str] = set()
    found: dict[str, Column] = {}
    for name, column in columns.items():
        free = next(one for one in chain([name], (f"{name}:{n}" for n in count(2))) if one.lower() not in seen)
        seen.add(free.lower())
        found[free] = column
    return found


def _objects(values: list[Any]) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def _same(value: str | None, count: int) -> Array:
    out = np.empty(count, object)
    out[:] = value
    return out


def engine_columns(rows: Rows) -> tuple[dict[str, Array], list[str]]:
    """What duckdb is given (one-dimensional arrays by names of ours), and the expression of each column over them.

    The elements of a short list travel as columns: joined in SQL that takes a tenth of the time of Python lists.
    """
    arrays: dict[str, Array] = {}
    expressions: list[str] = []
    for number, column in enumerate(rows.columns.values()):
        values = column.values
        if values.ndim == 1:
            arrays[f"c{number}"] = values
            expressions.append(f"CAST(c{number} AS {column.kind})")
        elif values.shape[1] <= _MANY:
            parts = {f"c{number}_{at}": np.ascontiguousarray(values[:, at]) for at in range(values.shape[1])}
            arrays |= parts
            expressions.append(f"CAST([{', '.join(parts)}] AS {column.kind})")
        else:
            arrays[f"c{number}"] = _objects(list(values))
            expressions.append(f"CAST(c{number} AS {column.kind})")
    return arrays, expressions
