"""Held-out rows with the true answers, read from a file as the inputs that one signature asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors
from penstock.pack.arrays import Values
from penstock.pack.sample import Sample, read_sample


class HeldOut(msgspec.Struct, frozen=True):
    """Rows with their true answers; `columns` is everything the file holds, by name."""

    sample: Sample
    columns: Tensors
    target: Values
    unlabelled: int

    @property
    def rows(self) -> int:
        """How many rows have a true answer."""
        return len(self.target)

    def take(self, rows: Values) -> HeldOut:
        """These rows alone."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return msgspec.structs.replace(self, columns=columns, target=self.target[rows])

    def inputs(self, signature: Signature) -> Tensors:
        """What `signature` asks for; raises InvalidInput (`unknown-column`) for what is not in the file."""
        if self.sample.layout == "table" and signature.layout == "matrix":
            return {signature.inputs[0].name: self._matrix(signature.inputs[0])}
        return {field.name: _as(field, self._column(field.name)) for field in signature.inputs}

    def _column(self, name: str) -> Values:
        if name not in self.columns:
            raise InvalidInput(
                "unknown-column", f"the held-out rows have no column {name!r}, which the model takes",
                hint=f"they have {', '.join(list(self.columns)[:20])}",
            )  # fmt: skip
        return self.columns[name]

    def _matrix(self, field: Field) -> Values:
        """A table for a model that was trained on an array: its columns in their order."""
        if len(self.columns) != field.shape[-1] or any(values.dtype.kind == "O" for values in self.columns.values()):
            raise InvalidInput(
                "wrong-columns", f"the model takes {field.shape[-1]} numbers a row, the held-out rows have "
                f"{len(self.columns)} columns besides the target, or text among them",
            )  # fmt: skip
        return np.stack(list(self.columns.values()), axis=1).astype(DTYPES[field.datatype])


def read_held_out(path: str, target: str, signature: Signature) -> HeldOut:
    """Read a CSV, Parquet or NPZ file; rows without a true answer are left out and counted.

    Raises NotFound (`unknown-file`), InvalidInput (`unreadable-sample`, `unknown-column`, `empty-sample`).
    """
    # Text must be read as text: a postcode 01234 taken for a number has lost its zero for good.
    texts = {field.name: "str" for field in signature.inputs if field.datatype == "BYTES"}
    is_csv = Path(path).suffix.lower() == ".csv"
    sample = read_sample(path, target=target, dtypes=texts if is_csv else None)
    labels: Values = np.asarray(sample.target)
    missing = np.isnan(labels) if labels.dtype.kind == "f" else np.array([label is None for label in labels], np.bool_)
    kept = np.flatnonzero(~missing)
    if not len(kept):
        raise InvalidInput("empty-sample", f"no row of {path} has a value in {target!r}")
    found = HeldOut(sample, sample.inputs, labels, len(labels) - len(kept))
    return found.take(kept) if len(kept) < len(labels) else found


def _as(field: Field, values: Values) -> Values:
    """The values in the field's datatype where that changes none; else as they are, for the binder to refuse."""
    dtype = DTYPES[field.datatype]
    if values.dtype == dtype or "O" in (values.dtype.kind, dtype.kind):
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        cast = values.astype(dtype)
    return cast if np.array_equal(cast, values, equal_nan=dtype.kind == "f") else values
