"""Predict: tensors by rows (`instances` to `predictions`) or by columns (`inputs` to `outputs`)."""

from __future__ import annotations

from typing import Any

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.tensors import Tensors
from penstock.protocols.form import NO_HEADERS, Form, Headers, ModelView
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


class PredictCodec:
    """Reads predict requests for one version of a model and writes its answers."""

    def __init__(self, view: ModelView) -> None:
        self._signature = view.signature
        self._bind = Binder(view.signature, text_only=view.text_only)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput. Keys that the contract does not know are ignored."""
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

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The answer, in the way the request came; raises InvalidInput where outputs have no rows to answer by."""
        if call.style:
            return write({"predictions": rows_of_tensors(outputs)}, outputs), JSON
        return write({"outputs": columns_of_tensors(outputs)}, outputs), JSON


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
