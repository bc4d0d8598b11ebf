"""The friendly form: `{"rows": [{column: value, …}, …]}` in, labels and probabilities out.

The type of a row is made from the signature, so that one typed decode finds missing and extra columns, wrong types and
values out of range, and says where.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import numpy as np

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Scalar, Signature
from penstock.core.tensors import DTYPES, Array, Tensors
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.form import NO_HEADERS, FirstReader, Form, Headers
from penstock.protocols.oip.json_data import text_values
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.unit import first_of

_encode = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct, omit_defaults=True):
    id: str
    endpoint: str
    version: str
    predictions: Any = msgspec.UNSET
    probabilities: Any = msgspec.UNSET
    classes: tuple[Scalar, ...] | msgspec.UnsetType = msgspec.UNSET
    outputs: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class RowsCodec:
    """Reads rows for one version of a model and writes its answers.

    A matrix's only input `x` is given per row as a list: `{"rows": [{"x": [1.0, 2.0]}]}`.
    """

    def __init__(self, name: str, version: str, signature: Signature, *, text_only: bool = True) -> None:
        self._name = name
        self._version = version
        self._signature = signature
        self._bind = Binder(signature, text_only=text_only)
        self._decode = msgspec.json.Decoder(_document(signature)).decode
        self._columns = [(field, f"column_{index}") for index, field in enumerate(signature.inputs)]
        nested = any(len(field.shape) > 1 for field in signature.inputs)
        self._fill = _fill_nested if nested else _fill_flat

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput that names the row and column at fault."""
        if not self._signature.batched:
            raise InvalidInput("no-rows", "this model does not take rows", hint="use /v2/models/{name}/infer")
        try:
            document = self._decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidInput("invalid-rows", f"the body does not fit this model: {str(error)[:300]}") from None
        rows = document.rows
        if not rows:
            raise InvalidInput("empty-batch", "rows is empty: there is nothing to answer")
        keys = 1 + len(rows) * len(self._columns) + (document.id is not None)
        refuse_duplicates(body, keys)
        tensors = {
            field.name: self._fill(field, [getattr(row, column) for row in rows]) for field, column in self._columns
        }
        bound, count = self._bind(tensors)
        return Call(bound, count, id=document.id)

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The response body and its content type."""
        answer = _Answer(call.id or "", self._name, self._version)
        others: dict[str, Any] = {}
        for name, array in outputs.items():
            if array.dtype.kind in "OS":
                text_values(name, array)
            values = array.tolist()
            if name == "predictions":
                answer.predictions = values
            elif name == "probabilities":
                answer.probabilities = values
                answer.classes = self._signature.classes or msgspec.UNSET
            else:
                others[name] = values
        if others:
            answer.outputs = others
        return _encode(answer), JSON


def _document(signature: Signature) -> Any:
    """A msgspec type for the whole body. Struct fields cannot have a column's free text as name: they are renamed."""
    fields = [(f"column_{index}", _value_type(field)) for index, field in enumerate(signature.inputs)]
    rename = {f"column_{index}": field.name for index, field in enumerate(signature.inputs)}
    row: Any = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    rows: Any = list[row]
    return msgspec.defstruct("Rows", [("rows", rows), ("id", str | None, None)], forbid_unknown_fields=True)


def _value_type(field: Field) -> Any:
    dtype = DTYPES[field.datatype]
    kind: Any
    if dtype.kind == "f":
        kind = float
    elif dtype.kind in "iu":
        # 64-bit limits are beyond what a constraint can hold; the array's own overflow check covers them.
        info = np.iinfo(dtype)  # type: ignore[type-var]
        kind = int if dtype.itemsize == 8 else Annotated[int, msgspec.Meta(ge=int(info.min), le=int(info.max))]
    else:
        kind = bool if dtype.kind == "b" else str
    kind = kind | None if field.nullable else kind
    for _ in field.shape[1:]:
        kind = list[kind]
    return kind


def _fill_flat(field: Field, values: list[Any]) -> Array:
    dtype = DTYPES[field.datatype]
    if dtype.kind == "O":
        text = np.empty(len(values), object)
        text[:] = values
        return text
    try:
        # FP64 first: rounding to the signature's datatype, and its range, are the binder's business.
        return np.array(values, np.float64 if dtype.kind == "f" else dtype)
    except (OverflowError, ValueError):
        raise InvalidInput(
            "invalid-value", f"column {field.name!r} has a value beyond the range of {field.datatype}"
        ) from None
    except TypeError:
        raise InvalidInput(
            "missing-value", f"column {field.name!r} has a missing value (null), and {field.datatype} has none"
        ) from None


def _fill_nested(field: Field, values: list[Any]) -> Array:
    if len(field.shape) == 1:
        return _fill_flat(field, values)
    dtype = DTYPES[field.datatype]
    try:
        return np.array(values, np.float64 if dtype.kind == "f" else dtype)
    except (OverflowError, ValueError, TypeError):
        raise InvalidInput(
            "wrong-shape", f"column {field.name!r} takes per row values of shape {list(field.shape[1:])}"
        ) from None


def _first_reader(name: str) -> FirstReader:
    row: Any = msgspec.defstruct("Row", [("unit", msgspec.Raw, msgspec.Raw())], rename={"unit": name}, gc=False)
    rows: Any = list[row]
    decode = msgspec.json.Decoder(msgspec.defstruct("Rows", [("rows", rows)])).decode

    def read(body: bytes, headers: Headers) -> Any:
        document: Any = decode(body)
        return first_of(document.rows[0].unit) if document.rows else None

    return read


ROWS = Form(
    "rows",
    lambda view: RowsCodec(view.endpoint, view.version, view.signature, text_only=view.text_only),
    reply_of,
    _first_reader,
    names_calls=True,
)
