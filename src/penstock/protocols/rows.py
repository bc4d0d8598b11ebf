"""The friendly form: `{"rows": [{column: value, …}, …]}` in, labels and probabilities out.

The type of a row is made from the signature, so that one typed decode finds missing and extra columns, wrong types and
values out of range, and says where.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Scalar, Signature
from penstock.core.tensors import Tensors
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.form import NO_HEADERS, FirstReader, Form, Headers
from penstock.protocols.json_values import filled, filled_flat, value_type
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
        self._fill = filled if nested else filled_flat

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
    fields = [
        (f"column_{index}", value_type(field, nullable=field.nullable)) for index, field in enumerate(signature.inputs)
    ]
    rename = {f"column_{index}": field.name for index, field in enumerate(signature.inputs)}
    row: Any = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    rows: Any = list[row]
    return msgspec.defstruct("Rows", [("rows", rows), ("id", str | None, None)], forbid_unknown_fields=True)


def _first_reader(name: str, signature: Signature) -> FirstReader:
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
