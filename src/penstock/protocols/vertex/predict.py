"""Vertex AI's predict: `{"instances": […], "parameters": {…}}` in, as many `predictions` out.

Source: Vertex AI, "Custom container requirements for prediction".
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.protocols.form import NO_HEADERS, FirstReader, Form, Headers, ModelView
from penstock.protocols.json_rows import RowReader, predictions, read_json
from penstock.protocols.mlflow.first import FirstRow, first_element
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.vertex.urls import PREDICT

_encode = msgspec.json.Encoder().encode


class PredictCodec:
    """Reads instances for one version and writes its predictions."""

    def __init__(self, view: ModelView) -> None:
        self._reader = RowReader(view.signature, text_only=view.text_only)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput."""
        document = read_json(body)
        if type(document) is not dict or "instances" not in document:
            raise InvalidInput(
                "invalid-instances", "the body has no `instances`", hint='send {"instances": [...], "parameters": {}}'
            )
        parameters = document.get("parameters")
        if parameters is not None and type(parameters) is not dict:
            raise InvalidInput("invalid-instances", "the parameters are no JSON object")
        bound, rows = self._reader.rows(document["instances"])
        return Call(bound, rows, parameters=parameters or None)

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The body of the answer and its content type."""
        answers = predictions(outputs, call.rows)
        if answers is None:
            raise InvalidInput("no-rows", "an output of this model is not by rows", hint="use /v2/models/{name}/infer")
        return _encode({"predictions": answers}), JSON


def _first_reader(name: str, signature: Signature) -> FirstReader:
    reader = FirstRow(name, signature)

    def read(body: bytes, headers: Headers) -> Any:
        bound, _ = reader.rows(read_json(body)["instances"])
        return first_element(bound[name])

    return read


VERTEX = Form(PREDICT, PredictCodec, reply_of, _first_reader)
