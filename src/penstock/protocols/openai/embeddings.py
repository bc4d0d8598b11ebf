"""`POST /v1/embeddings`: texts in, a vector for each out.

A bundle answers it if it has one text input and an output of one vector a row: the one called `embedding`, or the only
one. An output `tokens` (INT64, one a row) is what usage counts; without it usage is 0.
"""

from __future__ import annotations

import base64
from typing import Any, Literal

import msgspec
import numpy as np

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Array, Tensors
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.form import NO_HEADERS, FirstReader, Form, Headers, ModelView
from penstock.protocols.openai.problems import failure
from penstock.protocols.problems import JSON

# What OpenAI's own server takes in one call.
MOST_TEXTS = 2048
_encode = msgspec.json.Encoder().encode


class _Request(msgspec.Struct):
    input: str | list[Any]
    # Clients that write every field have null for what is not given.
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class _Named(msgspec.Struct):
    model: str = ""


class EmbeddingsCodec:
    """Reads texts for one version that embeds, and writes its vectors."""

    def __init__(self, view: ModelView) -> None:
        self._name = view.endpoint
        self._bind = Binder(view.signature, text_only=view.text_only)
        self._input, self._output = _text_and_vector(view.signature)
        self._tokens = any(field.name == "tokens" for field in view.signature.outputs)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput."""
        if not self._input or self._output is None:
            raise InvalidInput(
                "no-embeddings", f"{self._name} does not embed text: it needs one text input and one vector a row"
            )
        try:
            request = msgspec.json.decode(body, type=_Request)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise _unreadable(error) from None
        refuse_duplicates(body, -1)
        texts = [request.input] if isinstance(request.input, str) else request.input
        if not 0 < len(texts) <= MOST_TEXTS or not all(isinstance(text, str) and text for text in texts):
            raise InvalidInput(
                "invalid-texts", f"input is a text, or 1 to {MOST_TEXTS} texts, none of them empty",
                hint="tokens are not taken: each model has its own",
            )  # fmt: skip
        size = self._output.shape[1]
        if request.dimensions not in (None, size):
            raise InvalidInput(
                "wrong-dimensions", f"dimensions is {request.dimensions}, the model's vectors have {size}"
            )
        column = np.empty(len(texts), object)
        column[:] = texts
        inputs, rows = self._bind({self._input: column})
        return Call(inputs, rows, style=request.encoding_format)

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The list of vectors, in the order of the texts."""
        assert self._output is not None  # noqa: S101 - decode has looked
        vectors = outputs[self._output.name]
        tokens = int(outputs["tokens"].sum()) if self._tokens else 0
        said = _base64(vectors) if call.style == "base64" else vectors.tolist()
        answer = {
            "object": "list",
            "data": [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(said)],
            "model": self._name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return _encode(answer), JSON


def _base64(vectors: Array) -> list[str]:
    """Little-endian FP32, as OpenAI's Python client asks for it by default."""
    return [base64.b64encode(one.tobytes()).decode() for one in vectors.astype("<f4")]


def _text_and_vector(signature: Signature) -> tuple[str, Field | None]:
    """The name of the only text input, "" if there are others; the output with a vector a row."""
    inputs = signature.inputs
    texts = len(inputs) == 1 and inputs[0].datatype == "BYTES" and inputs[0].shape == (-1,)
    vectors = [
        field for field in signature.outputs
        if field.datatype in ("FP16", "FP32", "FP64") and len(field.shape) == 2 and field.shape[0] == -1
    ]  # fmt: skip
    named = [field for field in vectors if field.name == "embedding"] or vectors
    return (inputs[0].name if texts else ""), (named[0] if len(named) == 1 else None)


def model_of(body: bytes) -> str:
    """The endpoint that a request's `model` names, "" if it names none; raises InvalidInput (`invalid-json`)."""
    try:
        return msgspec.json.decode(body, type=_Named).model
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> InvalidInput:
    return InvalidInput("invalid-json", f"the body is no embeddings request: {str(error)[:300]}")


def _first_reader(name: str, signature: Signature) -> FirstReader:
    def read(body: bytes, headers: Headers) -> Any:
        texts = msgspec.json.decode(body, type=_Request).input
        return texts if isinstance(texts, str) else texts[0]

    return read


EMBEDDINGS = Form("embeddings", EmbeddingsCodec, failure, _first_reader, model_of=model_of)
