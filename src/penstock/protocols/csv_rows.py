"""CSV to bound tensors, with a header or without, and outputs to CSV.

MLflow's CSV has a header and SageMaker's has none. The first line is a header when it holds the names of all inputs. A
matrix has no names: there it is one when it has words and no value. What could be both is refused, for a row that is
taken for a header would be answered by silence; the parameter `header` of the content type (RFC 4180), `present` or
`absent`, decides then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Array, Tensors
from penstock.protocols.csv_text import read_csv, write_csv
from penstock.protocols.json_rows import Bound, RowReader
from penstock.protocols.oip.json_data import text_values

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_HINT = "say which in the content type: text/csv; header=present, or header=absent"


class CsvReader:
    """Reads CSV for one signature."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self._names = [field.name for field in reader.fields]
        self._cells = {field.name: _cell_of(field) for field in reader.fields}

    def read(self, text: str, header: str = "") -> Bound:
        """The rows in `text`; `header` is `present`, `absent` or "" for not told. Raises InvalidInput."""
        if self._reader.matrix is None and any(len(field.shape) != 1 for field in self._reader.fields):
            raise InvalidInput("no-csv", "an input of this model does not fit into a column of CSV", hint="send JSON")
        records = read_csv(text)
        columns: list[str] | None = None
        if records and self._has_header(records, header):
            columns, *records = records
        width = len(columns) if columns is not None else len(records[0]) if records else 0
        while width > 1 and records and records[-1] == [""]:
            records.pop()
        for number, record in enumerate(records, 1):
            if len(record) != width:
                raise InvalidInput("invalid-csv", f"row {number} has {len(record)} fields, and {width} were expected")
        matrix = self._reader.matrix
        return self._matrix(records, matrix) if matrix is not None else self._table(columns, records)

    def _matrix(self, records: list[list[str]], field: Field) -> Bound:
        cell = self._cells[field.name]
        return self._reader.rows([[cell(text) for text in record] for record in records])

    def _table(self, columns: list[str] | None, records: list[list[str]]) -> Bound:
        if columns is None:
            if records and len(records[0]) != len(self._names):
                raise InvalidInput(
                    "wrong-inputs",
                    f"a row without names has {len(records[0])} fields, the model takes {len(self._names)}",
                    hint=f"this model takes {', '.join(self._names[:40])}",
                )
            columns = self._names
        places = [(at, name, self._cells[name]) for at, name in enumerate(columns) if name in self._cells]
        if len({name for _, name, _ in places}) != len(places):
            raise InvalidInput("duplicate-input", "the header names an input twice")
        rows = [[cell(record[at]) for at, _, cell in places] for record in records]
        return self._reader.table([name for _, name, _ in places], rows)

    def _has_header(self, records: list[list[str]], header: str) -> bool:
        if header:
            return header == "present"
        first = records[0]
        if self._reader.matrix is not None:
            kind = DTYPES[self._reader.matrix.datatype].kind
            words = kind != "O" and any(text.strip() and not _is_value(text, kind) for text in first)
            # A row with a wrong value in it; or names, one of which is a year.
            mixed = words and any(text.strip() and _is_value(text, kind) for text in first)
            # A table that was written without names of its own has numbers for names.
            if mixed or (len(records) > 1 and first == [str(at) for at in range(len(first))]):
                said = ",".join(first)[:60]
                raise InvalidInput("ambiguous-header", f"the first line, {said}, is a header or a row", hint=_HINT)
            return words
        known = [name for name in self._names if name in first]
        if known and len(known) < len(self._names):
            raise InvalidInput(
                "ambiguous-header", f"the first line names {', '.join(known[:5])}, but not every input",
                hint=f"this model takes {', '.join(self._names[:40])}; if it is a row, {_HINT}",
            )  # fmt: skip
        return bool(known)


def csv_of(outputs: Tensors, rows: int) -> str:
    """A line per row with the values of all outputs, in their order, those of a vector side by side."""
    columns: list[list[str]] = []
    for name, array in outputs.items():
        if array.shape[:1] != (rows,):
            raise InvalidInput("no-rows", f"the output {name!r} is not by rows", hint="ask for JSON")
        columns += _columns(name, array)
    return write_csv(zip(*columns, strict=True))


def _columns(name: str, array: Array) -> list[list[str]]:
    if array.dtype.kind in "OS":
        text_values(name, array)
    flat = array.reshape(len(array), -1)
    return [[_written(value) for value in flat[:, at].tolist()] for at in range(flat.shape[1])]


def _written(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(value).lower() if type(value) is bool else str(value)


def _is_value(text: str, kind: str) -> bool:
    """Whether it is a number, or a truth where the model takes those: of whatever range, it is then no name."""
    try:
        (_truth if kind == "b" else _float)(text)
    except ValueError:
        return False
    return True


def _float(text: str) -> float | None:
    # Python would read 1_0 as ten.
    if "_" in text:
        raise ValueError
    return float(text) if text and not text.isspace() else None


def _integer(text: str) -> int | None:
    if "_" in text:
        raise ValueError
    return int(text) if text and not text.isspace() else None


def _truth(text: str) -> bool | None:
    if not text:
        return None
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise ValueError from None


def _cell_of(field: Field) -> Callable[[str], Any]:
    """From a field of CSV to the value that JSON would have; an empty one is a missing value."""
    kind = DTYPES[field.datatype].kind
    if kind == "O":
        return (lambda text: text or None) if field.nullable else str
    read: Callable[[str], Any] = {"f": _float, "b": _truth}.get(kind, _integer)

    def cell(text: str) -> Any:
        try:
            return read(text)
        except ValueError:
            said = f"input {field.name!r} has {text[:60]!r}, which is no {field.datatype}"
            raise InvalidInput("invalid-value", said) from None

    return cell
