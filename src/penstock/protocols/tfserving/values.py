"""Rows and columns as TensorFlow Serving has them: every input by its name and no other, bytes in base64."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Array
from penstock.protocols.json_rows import Bound, RowReader


class NamedReader(RowReader):
    """Reads rows and columns that name each input; only what is bare is the only input's.

    A model without rows is asked by them, too: then they are its first axis.

    Example:
        >>> from penstock.core.signature import Field
        >>> x = Field(name="x", datatype="FP32", shape=(-1, 2))
        >>> reader = NamedReader(Signature(inputs=(x,), outputs=(), layout="matrix"))
        >>> reader.rows([[1, 2], [3, 4]])[0]["x"].tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """

    def __init__(self, signature: Signature, *, text_only: bool = True) -> None:
        super().__init__(signature, text_only=text_only)
        # Columns under other names than the input's are none of it.
        self.matrix = None

    def records(self, rows: list[Any]) -> Bound:
        """See `RowReader.records`."""
        for number, row in enumerate(rows):
            if type(row) is dict and row.keys() != self.names:
                raise _wrong_row(number, row, self.names)
        return super().records(rows)

    def in_order(self, rows: list[Any]) -> Bound:
        """See `RowReader.in_order`; there are no rows in order here, for each input has a name."""
        self._need_only()
        return super().in_order(rows)

    def columns(self, columns: dict[str, Any]) -> Bound:
        """See `RowReader.columns`."""
        self._bind.check_names(columns)
        return super().columns(columns)

    def tensor(self, value: Any) -> Bound:
        """See `RowReader.tensor`."""
        self._need_only()
        return super().tensor(value)

    def _need_only(self) -> None:
        if len(self.fields) != 1:
            raise InvalidInput(
                "wrong-inputs",
                f"this model takes {len(self.fields)} inputs, so each is given by its name",
                hint=f"the names are {', '.join(field.name for field in self.fields[:40])}",
            )

    def _listed(self, name: str, value: Any) -> Any:
        return value

    def _need_rows(self, rows: list[Any]) -> None:
        if not rows:
            raise InvalidInput("empty-batch", "instances is empty: there is nothing to answer")


def _wrong_row(number: int, row: dict[str, Any], names: set[str]) -> InvalidInput:
    missing, extra = sorted(names - row.keys()), sorted(row.keys() - names)
    said = [
        f"{what} {', '.join(repr(name[:60]) for name in found[:5])}"
        for what, found in (("missing", missing), ("unknown", extra))
        if found
    ]
    return InvalidInput(
        "wrong-inputs",
        f"instance {number}: {' and '.join(said)}",
        hint=f"this model takes {', '.join(sorted(names)[:40])}",
    )


def values_of_tensor(name: str, array: Array) -> Any:
    """A tensor as nested lists. Text of a name that ends in `_bytes`, and bytes that are no text, become base64."""
    values: Any = array.tolist()
    if array.dtype.kind not in "OSU":
        return values
    every = name.endswith("_bytes")
    return _each(values, lambda value: _base64(value) if every or type(value) is bytes else value)


def _each(values: Any, change: Any) -> Any:
    return [_each(value, change) for value in values] if type(values) is list else change(values)


def _base64(value: str | bytes | None) -> Mapping[str, str] | None:
    if value is None:
        return None
    data = value if isinstance(value, bytes) else value.encode()
    return {"b64": base64.b64encode(data).decode()}
