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
from penstock.protocols.json_rows import bare_or_named, names_inputs, predictions
from penstock.protocols.oip.json_data import tensor_of_json
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.tfserving.first import first_reader
from penstock.protocols.tfserving.json_text import read_object, write
from penstock.protocols.tfserving.values import NamedReader, values_of_tensor

SIGNATURE = "serving_default"


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    instances: msgspec.Raw


_decode_usual = msgspec.json.Decoder(_Usual).decode


class PredictCodec:
    """Reads predict requests for one version of a model and writes its answers."""

    def __init__(self, view: ModelView) -> None:
        self._bind = Binder(view.signature, text_only=view.text_only)
        self._reader = NamedReader(view.signature, text_only=view.text_only)
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
            bound, rows = self._reader.rows(document["instances"])
        else:
            inputs = document["inputs"]
            read = self._reader.columns if names_inputs(inputs) else self._reader.tensor
            bound, rows = read(inputs)
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
        if not call.style:
            return write({"outputs": bare_or_named(_values(outputs))}, outputs), JSON
        # Whatever its first axis is called: a model without rows may have as many answers as instances.
        rows = next((len(array) for array in outputs.values() if array.ndim), 0)
        answers = predictions(outputs, rows, _values)
        if answers is None:
            raise InvalidInput(
                "no-rows",
                "this model does not answer by rows",
                hint="ask with `inputs`, whole tensors, not `instances`",
            )
        return write({"predictions": answers}, outputs), JSON


def _values(outputs: Tensors) -> dict[str, Any]:
    return {name: values_of_tensor(name, array) for name, array in outputs.items()}


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
