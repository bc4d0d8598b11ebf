"""The sample: rows like those the model will answer, read from whatever holds them into named tensors."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pandas as pd

from penstock.core.digest import digest_of
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.frames import encode_frame
from penstock.core.signature import Field
from penstock.core.tensors import DTYPES, Array, Tensors, datatype_of
from penstock.pack.columns import read_column

Layout = Literal["matrix", "table", "tensors"]


class Sample(msgspec.Struct, frozen=True):
    """Rows as named tensors, the fields they suggest and the adapters' options for their columns."""

    layout: Layout
    fields: tuple[Field, ...]
    inputs: Tensors
    options: dict[str, Any]
    target: Array | None = None
    target_name: str = ""

    @property
    def rows(self) -> int:
        """The length of the first axis."""
        return len(next(iter(self.inputs.values())))

    def digest(self) -> str:
        """The digest of the values: the same for a CSV and for a Parquet file that hold the same rows."""
        target = {} if self.target is None else {f"target {self.target_name}": self.target}
        return digest_of(encode_frame({**self.inputs, **target}, {"layout": self.layout}))


def read_sample(data: Any, *, target: str = "", dtypes: Mapping[str, str] | None = None) -> Sample:
    """Read a CSV, Parquet or NPZ file, a DataFrame, an array, a list of lists or a mapping of arrays.

    A `Sample` is returned as it is.

    `target` names the column (or NPZ array) that is the label and no input; `dtypes` overrides what a column is read
    as: a datatype of the protocol, `str`, `category` or a numpy dtype's name. Raises NotFound for a missing file,
    InvalidInput for data that cannot be read, is empty or lacks a column that is named.

    Example:
        >>> sample = read_sample(np.zeros((3, 2), np.float32))
        >>> sample.layout, sample.fields[0].name, sample.fields[0].shape
        ('matrix', 'x', (-1, 2))
    """
    types = {name: _dtype(name, value) for name, value in (dtypes or {}).items()}
    if isinstance(data, (str, Path)):
        data = _read_file(Path(data), types)
    if isinstance(data, Sample):
        return data
    if isinstance(data, pd.Series):
        data = data.to_frame()
    if isinstance(data, pd.DataFrame):
        return _table(data, target, types)
    if isinstance(data, Mapping):
        return _arrays({str(name): np.asarray(array) for name, array in data.items()}, target, types)
    if isinstance(data, (np.ndarray, Sequence)):
        return _arrays({"x": np.asarray(data)}, target, types)
    raise InvalidInput("unreadable-sample", f"a sample of type {type(data).__name__} cannot be read", hint=_HINT)


def tensors_sample(arrays: Mapping[str, Any]) -> Sample:
    """A sample of named tensors that stay a dict of arrays, whatever their number and rank.

    Example:
        >>> tensors_sample({"a": [[1.0, 2.0]]}).layout
        'tensors'
    """
    inputs = {name: _canonical(name, np.asarray(array)) for name, array in arrays.items()}
    _check_rows(min((array.size for array in inputs.values()), default=0), len(inputs))
    return Sample("tensors", tuple(_field(name, array) for name, array in inputs.items()), inputs, {})


_HINT = "give a CSV, Parquet or NPZ file, a DataFrame or an array"


def _dtype(column: str, name: str) -> Any:
    if name in ("str", "BYTES", "string"):
        return str
    if name == "category":
        return "category"
    try:
        return DTYPES[name] if name in DTYPES else np.dtype(name)
    except TypeError:
        raise InvalidInput(
            "unknown-datatype",
            f"--dtype {column}={name}: unknown type {name[:40]!r}",
            hint=f"one of {', '.join(DTYPES)}, str, category or a numpy dtype",
        ) from None


def _read_file(path: Path, types: Mapping[str, Any]) -> Any:
    if not path.is_file():
        raise NotFound("unknown-file", f"there is no sample at {path}")
    try:
        match path.suffix.lower():
            case ".csv":
                # Told before reading: a postcode 01234 read as a number first has lost its zero for good.
                known = set(pd.read_csv(path, nrows=0).columns)
                return pd.read_csv(path, dtype={name: kind for name, kind in types.items() if name in known})
            case ".parquet" | ".pq":
                return pd.read_parquet(path)
            case ".npz" | ".npy":
                loaded = np.load(path, allow_pickle=False)
                if isinstance(loaded, np.ndarray):
                    return loaded
                with loaded:
                    return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput("unreadable-sample", f"{path.name} cannot be read: {str(error)[:300]}") from None
    raise InvalidInput("unreadable-sample", f"{path.name} is no kind of sample we read", hint=_HINT)


def _table(frame: pd.DataFrame, target: str, types: Mapping[str, Any]) -> Sample:
    names = list(frame.columns)
    if all(isinstance(name, (int, np.integer)) for name in names) and not target and not types:
        return _arrays({"x": frame.to_numpy()}, target, types)
    if bad := [name for name in names if not isinstance(name, str) or not name or not name.isprintable()]:
        raise InvalidInput("invalid-column-name", f"columns need printable text as names, not {bad[0]!r}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidInput("invalid-column-name", f"the sample has column {twice[0]!r} twice")
    for name in (*types, *([target] if target else [])):
        if name not in names:
            raise _no_column(name, names)
    frame = _cast(frame, types)
    labels = read_column(target, frame.pop(target)).values if target else None
    _check_rows(len(frame), len(frame.columns))
    columns = [read_column(name, frame[name]) for name in frame.columns]
    return Sample(
        "table",
        tuple(column.field for column in columns),
        {column.field.name: column.values for column in columns},
        {"columns": {column.field.name: column.options for column in columns if column.options}},
        labels,
        target,
    )


def _cast(frame: pd.DataFrame, types: Mapping[str, Any]) -> pd.DataFrame:
    try:
        # A copy, so that the caller's frame keeps its target column.
        return frame.astype(dict(types)) if types else frame.copy(deep=False)
    except (ValueError, TypeError) as error:
        raise InvalidInput("unreadable-sample", f"--dtype cannot be applied: {str(error)[:200]}") from None


def _arrays(arrays: dict[str, Array], target: str, types: Mapping[str, Any]) -> Sample:
    if types:
        raise InvalidInput("unknown-column", "an unnamed array has no columns that --dtype could name", hint=_HINT)
    if target and target not in arrays:
        raise _no_column(target, list(arrays))
    labels = _canonical(target, arrays.pop(target)) if target else None
    inputs = {name: _canonical(name, array) for name, array in arrays.items()}
    layout: Layout = "tensors"
    if len(inputs) == 1:
        (array,) = inputs.values()
        if array.ndim == 2:
            layout, inputs = "matrix", {"x": array}
    _check_rows(min((array.size for array in inputs.values()), default=0), len(inputs))
    return Sample(layout, tuple(_field(name, array) for name, array in inputs.items()), inputs, {}, labels, target)


def _field(name: str, array: Array) -> Field:
    missing = array.dtype.kind == "f" and bool(np.isnan(array).any())
    nulls = array.dtype.kind == "O" and any(value is None for value in array.ravel().tolist())
    return Field(name=name, datatype=datatype_of(array), shape=(-1, *array.shape[1:]), nullable=missing or nulls)


def _canonical(name: str, array: Array) -> Array:
    if array.dtype.kind in "US":
        array = array.astype(np.str_).astype(object)
    if array.dtype.kind == "O":
        array = np.array(
            [None if value is None or value != value else value for value in array.ravel()], object
        ).reshape(array.shape)
        if not all(value is None or isinstance(value, str) for value in array.ravel()):
            raise InvalidInput(
                "unsupported-column",
                f"array {name!r} mixes texts and other values",
                hint="give a DataFrame, whose columns have a type each",
            )
        return array
    if array.dtype.newbyteorder("=") not in DTYPES.values():
        raise InvalidInput("unsupported-column", f"array {name!r} has dtype {array.dtype}, which the protocol lacks")
    return np.asarray(array.astype(array.dtype.newbyteorder("="), copy=False), order="C")


def _check_rows(rows: int, columns: int) -> None:
    if not rows or not columns:
        raise InvalidInput("empty-sample", f"the sample has {rows} rows and {columns} inputs", hint=_HINT)


def _no_column(name: str, known: list[str]) -> InvalidInput:
    return InvalidInput(
        "unknown-column",
        f"the sample has no column {name!r}",
        hint=f"it has {', '.join(known[:20])}{' …' if len(known) > 20 else ''}",
    )
