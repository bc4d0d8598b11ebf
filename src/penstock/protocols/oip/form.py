"""The Open Inference Protocol over HTTP, as a form."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import msgspec
import numpy as np

from penstock.core.signature import Signature
from penstock.core.tensors import DTYPES
from penstock.protocols.form import FirstReader, Form, Headers
from penstock.protocols.oip.infer import LENGTH_HEADER, InferCodec
from penstock.protocols.problems import reply_of
from penstock.protocols.unit import first_of


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int] = []
    datatype: str = ""
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Any] | None = None


class _Tensors(msgspec.Struct, gc=False):
    inputs: list[_Input]


_decode = msgspec.json.Decoder(_Tensors).decode


def _first_reader(name: str, signature: Signature) -> FirstReader:
    only = signature.inputs[0] if len(signature.inputs) == 1 else None

    def read(body: bytes, headers: Headers) -> Any:
        length = headers.get(LENGTH_HEADER)
        head, binary = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
        if length is not None and not head:
            # The body is the only input.
            return None if only is None else first_binary(only.datatype, [1], binary)
        at = 0
        for tensor in _decode(head).inputs:
            size = (tensor.parameters or {}).get("binary_data_size")
            if tensor.name == name:
                if size is None:
                    return first_of(tensor.data)
                return first_binary(tensor.datatype, tensor.shape, binary[at : at + int(size)])
            at += int(size or 0)
        return None

    return read


def first_binary(datatype: str, shape: Sequence[int], data: bytes) -> Any:
    """The first element of a tensor in its binary form, None if it is empty."""
    if datatype == "BYTES":
        return data[4 : 4 + int.from_bytes(data[:4], "little")]
    dtype = DTYPES[datatype].newbyteorder("<")
    # Of FP32 the digits that FP32 has: 0.1 is 0.1 in every form of the request.
    return np.frombuffer(data, dtype, count=1)[0] if prod(shape) else None


INFER = Form(
    "infer",
    lambda view: InferCodec(view.endpoint, view.version, view.signature, text_only=view.text_only),
    reply_of,
    _first_reader,
)
