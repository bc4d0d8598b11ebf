"""Predict: tensors by rows (`instances` to `predictions`) or by columns (`inputs` to `outputs`)."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors
from penstock.protocols.form import NO_HEADERS, Form, Headers, ModelView
from penstock.protocols.oip.json_data import tensor_of_json
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.tfserving.first import first_reader
from penstock.protocols.tfserving.json_text import read_object, write
from penstock.protocols.tfserving.values import (
    columns_of_tensors,
    rows_of_tensors,
    tensors_of_columns,
    tensors_of_rows,
)

SIGNATURE = "serving_default"


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    instances: msgspec.Raw


_decode_usual = msgspec.json.Decoder(_Usual).decode


class PredictCodec:
    """Reads predict requests for one version of a model and writes its answers."""

    def __init__(self, view: ModelView) -> None:
        self._signature = view.signature
        self._bind = Binder(view.signature, text_only=view.text_only)
        self._matrix = _only_matrix(view.signature)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput. Keys that the contract does not know are ignored."""
        matrix = self._usual(body)
        if matrix is not None:
            bound, rows = self._bind(matrix)
            return Call(bound, rows, style=True)
        document = read_object(body)
        check_signature_name(document)
        if ("instances" in document) == ("inputs" in document):
            raise InvalidInput(
                "instances-or-inputs", "the body has to have either `instances` (rows) or `inputs` (whole tensors)"
            )
        by_rows = "instances" in document
        if by_rows:
            tensors = tensors_of_rows(self._signature, document["instances"])
        else:
            tensors = tensors_of_columns(self._signature, document["inputs"])
        bound, rows = self._bind(tensors)
        return Call(bound, rows, style=by_rows)

    def _usual(self, body: bytes) -> Tensors | None:
        """The numbers of a model's only matrix, without a Python object each; None where it takes a closer look."""
        field = self._matrix
        if field is None:
            return None
        try:
            raw = bytes(_decode_usual(body).instances)
            shape = (raw.count(b"[") - 1, field.shape[1])
            array = tensor_of_json(field.name, field.datatype, shape, raw) if shape[0] > 0 else None
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, InvalidInput):
            return None
        if array is None or body.count(b":") != 1:
            return None
        return {field.name: array}

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The answer, in the way the request came; raises InvalidInput where outputs have no rows to answer by."""
        if call.style:
            return write({"predictions": rows_of_tensors(outputs)}, outputs), JSON
        return write({"outputs": columns_of_tensors(outputs)}, outputs), JSON


def _only_matrix(signature: Signature) -> Field | None:
    """The only input, if it is rows of so many numbers."""
    if len(signature.inputs) != 1:
        return None
    field = signature.inputs[0]
    numbers = DTYPES[field.datatype].kind in "fiu" and len(field.shape) == 2 and field.shape[0] == -1 < field.shape[1]
    return field if numbers else None


def check_signature_name(document: dict[str, Any]) -> None:
    """Raise InvalidInput for a signature that a bundle does not have: there is one, under TensorFlow's default name."""
    name = document.get("signature_name", "")
    if name not in ("", SIGNATURE):
        raise InvalidInput(
            "unknown-signature",
            f"there is no signature {str(name)[:60]!r}",
            hint=f"leave signature_name out, or say {SIGNATURE}",
        )


PREDICT = Form("tf-predict", PredictCodec, reply_of, first_reader)
