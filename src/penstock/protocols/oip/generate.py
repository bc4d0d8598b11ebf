"""The generate extension: one row of named values in a plain JSON object, and its answer in another.

Source: Triton Inference Server, `extension_generate.md`. `generate_stream` gives the same as server-sent events; a
model that answers at once has one event.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.form import NO_HEADERS, FirstReader, Form, Headers, ModelView
from penstock.protocols.oip.infer import Parameter
from penstock.protocols.oip.json_data import json_values, text_values
from penstock.protocols.problems import JSON, reply_of
from penstock.protocols.rows import RowsCodec

_EVENTS = b"content-type: text/event-stream\r\n"
_encode = msgspec.json.Encoder().encode


class _Told(msgspec.Struct):
    """What is no input in a request."""

    id: str | None = None
    parameters: dict[str, Parameter] | None = None


class GenerateCodec:
    """Reads one row by the names of its inputs, and writes the outputs by theirs.

    A model with one text input takes it as `text_input`, one with one text output gives it as `text_output`, whatever
    they are called.
    """

    def __init__(self, view: ModelView, *, stream: bool) -> None:
        self._view = view
        self._stream = stream
        self._rows = RowsCodec(view.endpoint, view.version, view.signature, text_only=view.text_only)
        self._input = _only_text(view.signature, "text_input", outputs=False)
        self._output = _only_text(view.signature, "text_output", outputs=True)
        self._names = {field.name for field in view.signature.inputs}

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput."""
        try:
            document = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidInput("invalid-json", f"the body is no object of named values: {str(error)[:300]}") from None
        refuse_duplicates(body, -1)
        try:
            told = msgspec.convert({key: document.pop(key, None) for key in ("id", "parameters")}, _Told)
        except msgspec.ValidationError as error:
            raise InvalidInput("invalid-value", f"id or parameters: {str(error)[:300]}") from None
        if self._input != "text_input" and {self._input, "text_input"} <= document.keys():
            raise InvalidInput("duplicate-input", f"input {self._input!r} is given twice, once as text_input")
        row = {self._input if name == "text_input" else name: value for name, value in document.items()}
        call = self._rows.decode(_encode({"rows": [row]}))
        call.id, call.parameters = told.id, told.parameters
        return call

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The outputs of the row, a single value as itself."""
        answer: dict[str, Any] = {"model_name": self._view.endpoint, "model_version": self._view.version}
        if call.id is not None:
            answer["id"] = call.id
        for name, array in outputs.items():
            values = text_values(name, array) if array.dtype.kind == "O" else json_values(array)
            answer["text_output" if name == self._output else name] = values[0] if len(values) == 1 else values
        body = _encode(answer)
        return (b"data: %b\n\n" % body, _EVENTS) if self._stream else (body, JSON)


def _only_text(signature: Signature, usual: str, *, outputs: bool) -> str:
    """The one text among the inputs or outputs, unless one has the usual name."""
    fields = signature.outputs if outputs else signature.inputs
    texts = [field.name for field in fields if field.datatype == "BYTES"]
    return texts[0] if len(texts) == 1 and usual not in {field.name for field in fields} else usual


def _first_reader(name: str, signature: Signature) -> FirstReader:
    def read(body: bytes, headers: Headers) -> Any:
        document = msgspec.json.decode(body, type=dict[str, Any])
        return document.get(name, document.get("text_input"))

    return read


GENERATE = Form("generate", lambda view: GenerateCodec(view, stream=False), reply_of, _first_reader)
GENERATE_STREAM = Form("generate_stream", lambda view: GenerateCodec(view, stream=True), reply_of, _first_reader)
