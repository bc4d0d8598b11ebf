"""JSON rows to bound tensors, and outputs to predictions: what the contracts of the clouds have in common.

Rows come as objects (a value per column) or as lists (a value per input, in the signature's order). Columns that the
model does not know are left out, as MLflow does: each input has to be given, so that a misspelt one is missed.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Array, Tensors, text_if_utf8
from penstock.protocols.duplicates import keys_of, refuse_duplicates
from penstock.protocols.json_values import filled, value_type
from penstock.protocols.oip.json_data import text_values

Bound = tuple[Tensors, int]


class RowReader:
    """Reads rows for one signature; made once per loaded version.

    A model with one input of rank 2 is a matrix: columns whose names it does not know are taken in their order.

    Example:
        >>> age = Field(name="age", datatype="INT64", shape=(-1,))
        >>> city = Field(name="city", datatype="BYTES", shape=(-1,))
        >>> reader = RowReader(Signature(inputs=(age, city), outputs=(), layout="table"))
        >>> bound, rows = reader.rows([{"city": "Oslo", "age": 31}, {"city": "Bern", "age": 62}])
        >>> bound["age"].tolist(), rows
        ([31, 62], 2)
    """

    def __init__(self, signature: Signature, *, text_only: bool = True) -> None:
        self.fields = signature.inputs
        self.batched = signature.batched
        only = signature.inputs[0] if len(signature.inputs) == 1 else None
        self.matrix = only if only is not None and len(only.shape) == 2 and signature.batched else None
        self.names = {field.name for field in signature.inputs}
        self._readers = {field.name: _Values(field, batched=signature.batched) for field in signature.inputs}
        self._bind = Binder(signature, text_only=text_only)

    def rows(self, rows: Any) -> Bound:
        """Rows that are objects, or else lists or bare values; raises InvalidInput."""
        if type(rows) is not list:
            raise InvalidInput("invalid-rows", "the rows are not a list")
        self._need_rows(rows)
        return self.records(rows) if names_inputs(rows[0]) else self.in_order(rows)

    def records(self, rows: list[Any]) -> Bound:
        """Rows that are objects; a value that one of them leaves out is missing."""
        if not all(type(row) is dict for row in rows):
            raise InvalidInput("invalid-rows", "some rows are objects and some are not")
        if self._is_unnamed(rows[0]):
            names = list(rows[0])
            if not all(len(row) == len(names) and all(name in row for name in names) for row in rows):
                raise InvalidInput("invalid-rows", "the rows do not all have the same columns")
            return self.in_order([[row[name] for name in names] for row in rows])
        given = {field.name for field in self.fields if any(field.name in row for row in rows)}
        return self._bound({name: [row.get(name) for row in rows] for name in given})

    def in_order(self, rows: list[Any]) -> Bound:
        """Rows whose values are in the order of the inputs; with one input, rows that are its values."""
        if len(self.fields) == 1:
            return self._bound({self.fields[0].name: rows})
        width = len(self.fields)
        if not all(type(row) is list and len(row) == width for row in rows):
            raise InvalidInput(
                "wrong-inputs",
                f"a row without names has one value for each of the {width} inputs",
                hint=f"this model takes {', '.join(field.name for field in self.fields[:40])}",
            )
        return self._bound({field.name: [row[at] for row in rows] for at, field in enumerate(self.fields)})

    def table(self, columns: Sequence[Any] | None, rows: Any) -> Bound:
        """Rows that are lists, under the names `columns` if there are any."""
        if type(rows) is not list:
            raise InvalidInput("invalid-rows", "the rows are not a list")
        self._need_rows(rows)
        if columns is None:
            return self.in_order(rows)
        names = [str(name) for name in columns]
        if not all(type(row) is list and len(row) == len(names) for row in rows):
            raise InvalidInput("invalid-rows", f"not every row has a value for each of the {len(names)} columns")
        if len(set(names)) != len(names):
            raise InvalidInput("duplicate-input", "a column is named twice")
        if self._is_unnamed(names):
            return self.in_order(rows)
        return self._bound({name: [row[at] for row in rows] for at, name in enumerate(names) if name in self.names})

    def columns(self, columns: dict[str, Any]) -> Bound:
        """One list of values per column, or whole tensors of a model without rows."""
        if self.matrix is not None and self._is_unnamed(columns):
            values = list(columns.values())
            if not all(type(column) is list and len(column) == len(values[0]) for column in values):
                raise InvalidInput("invalid-rows", "the columns are not lists of the same length")
            return self.in_order([list(row) for row in zip(*values, strict=True)])
        known = {name: values for name, values in columns.items() if name in self.names}
        return self._bound({name: self._listed(name, values) for name, values in known.items()})

    def tensor(self, value: Any) -> Bound:
        """The only input, whole: nested lists, or one bare value for one row."""
        if len(self.fields) != 1:
            return self.rows(value)
        name = self.fields[0].name
        return self._bound({name: self._listed(name, value)})

    def _listed(self, name: str, value: Any) -> Any:
        return value if type(value) is list or not self.batched else [value]

    def _is_unnamed(self, names: Any) -> bool:
        return self.matrix is not None and self.matrix.name not in names

    def _need_rows(self, rows: list[Any]) -> None:
        if not self.batched:
            raise InvalidInput("no-rows", "this model does not take rows", hint="use /v2/models/{name}/infer")
        if not rows:
            raise InvalidInput("empty-batch", "there are no rows: there is nothing to answer")

    def _bound(self, columns: dict[str, Any]) -> Bound:
        return self._bind({name: self._readers[name].read(values) for name, values in columns.items()})


class _Values:
    """Reads the values of one input."""

    def __init__(self, field: Field, *, batched: bool) -> None:
        # Without rows the first axis is one like the others, and there may be none at all.
        # A null that has a form in the array is the binder's to refuse, which says what is missing.
        one: Any = value_type(field, nullable=field.nullable or DTYPES[field.datatype].kind == "f")
        every: Any = list[one]
        self._type = every if field.shape else one
        self._field = field
        self._rank = len(field.shape)
        self._text = field.datatype == "BYTES"
        self._flat = batched and len(field.shape) == 1
        self._matrix = batched and len(field.shape) == 2

    def read(self, values: Any) -> Array:
        if type(values) is list and values:
            if self._flat and all(type(value) is list and len(value) == 1 for value in values):
                # A column that was cut from a matrix.
                values = [value[0] for value in values]
            elif self._matrix and not any(type(value) is list for value in values):
                values = [[value] for value in values]
        try:
            return filled(
                self._field, self._texts(values, self._rank) if self._text else msgspec.convert(values, self._type)
            )
        except (msgspec.ValidationError, RecursionError, OverflowError) as error:
            said = f"column {self._field.name!r} does not fit this model: {str(error)[:200]}"
            raise InvalidInput("invalid-rows", said) from None

    def _texts(self, value: Any, depth: int) -> Any:
        """Texts nested so deep, where bytes may stand as `{"b64": …}`."""
        if depth:
            if type(value) is not list:
                raise msgspec.ValidationError(f"Expected a list, got {str(value)[:60]!r}")
            return [self._texts(part, depth - 1) for part in value]
        if type(value) is str or value is None:
            return value
        if type(value) is not dict or names_inputs(value):
            raise msgspec.ValidationError(f"Expected `str`, got {str(value)[:60]!r}")
        try:
            return text_if_utf8(base64.b64decode(value["b64"], validate=True))
        except (binascii.Error, ValueError):
            raise msgspec.ValidationError("the value of `b64` is not base64") from None


def names_inputs(value: Any) -> bool:
    """Whether a JSON value is an object by the names of inputs, and no bytes in base64.

    Example:
        >>> names_inputs({"b64": "AAE="}), names_inputs({"b64": 5}), names_inputs(5)
        (False, True, False)
    """
    return type(value) is dict and not (len(value) == 1 and type(value.get("b64")) is str)


def whole(outputs: Tensors) -> dict[str, Any]:
    """Each output's values for JSON, nested like its shape; raises InvalidInput for bytes that are no text."""
    for name, array in outputs.items():
        if array.dtype.kind in "OS":
            text_values(name, array)
    return {name: array.tolist() for name, array in outputs.items()}


def bare_or_named(values: dict[str, Any]) -> Any:
    """The only output's values, or an object of all."""
    return next(iter(values.values())) if len(values) == 1 else values


def predictions(
    outputs: Tensors, rows: int, values_of: Callable[[Tensors], dict[str, Any]] = whole
) -> list[Any] | None:
    """A prediction per row: the only output's value, or an object of all; None if some output is not by rows.

    `values_of` makes JSON of the outputs.

    Example:
        >>> import numpy as np
        >>> predictions({"label": np.array([1, 0]), "score": np.array([0.9, 0.2])}, 2)
        [{'label': 1, 'score': 0.9}, {'label': 0, 'score': 0.2}]
        >>> predictions({"label": np.array([1, 0])}, 2)
        [1, 0]
    """
    if any(array.shape[:1] != (rows,) for array in outputs.values()):
        return None
    values = values_of(outputs)
    if len(values) == 1:
        only: list[Any] = next(iter(values.values()))
        return only
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def read_json(body: bytes) -> Any:
    """The body's JSON as plain values; raises InvalidInput, also for a key that stands twice in one object."""
    try:
        document = msgspec.json.decode(body)
        keys = keys_of(document)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-json", f"the body is not JSON: {str(error)[:300]}") from None
    refuse_duplicates(body, keys)
    return document
