"""Infer requests and responses: bytes to a Call, outputs to bytes."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors, datatype_of, from_bytes, to_bytes
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.oip.json_data import check_shape, json_values, tensor_of_json

Parameter = bool | int | float | str


class _Input(msgspec.Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Parameter] | None = None


class _RequestedOutput(msgspec.Struct, gc=False):
    name: str
    parameters: dict[str, Parameter] | None = None


class _Request(msgspec.Struct, gc=False):
    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Parameter] | None = None
    outputs: list[_RequestedOutput] | None = None


class _Output(msgspec.Struct, omit_defaults=True, gc=False):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class _Response(msgspec.Struct, omit_defaults=True, gc=False):
    model_name: str
    model_version: str
    outputs: list[_Output]
    id: str | None = None


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


class InferCodec:
    """Reads infer requests for one version of a model and writes its answers."""

    def __init__(self, name: str, version: str, signature: Signature, *, text_only: bool = True) -> None:
        self._name = name
        self._version = version
        self._inputs = signature.inputs
        self._outputs = {field.name for field in signature.outputs}
        self._bind = Binder(signature, text_only=text_only)

    def decode(self, body: bytes, header_length: int | None = None) -> Call:
        """The call in a request body; raises InvalidInput.

        `header_length` is the value of `Inference-Header-Content-Length`: the JSON takes so many bytes and raw tensors
        follow; 0 means that the whole body is the only input.
        """
        if header_length is None:
            return self._call(self._request(body), b"", body)
        if header_length == 0:
            return self._raw(body)
        if header_length > len(body):
            raise InvalidInput(
                "wrong-header-length",
                f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes",
            )
        head = body[:header_length]
        return self._call(self._request(head), body[header_length:], head)

    def _request(self, body: bytes) -> _Request:
        try:
            return _decode(body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidInput("invalid-json", f"the body is not an infer request: {str(error)[:300]}") from None

    def _call(self, request: _Request, binary: bytes, body: bytes) -> Call:
        keys = 1 + (request.id is not None)
        tensors: Tensors = {}
        at = 0
        for tensor in request.inputs:
            if tensor.name in tensors:
                raise InvalidInput("duplicate-input", f"input {tensor.name[:60]!r} is given twice")
            if tensor.parameters is None:
                keys += 4
                tensors[tensor.name] = _from_json(tensor)
                continue
            keys += 4 + len(tensor.parameters) + bool(tensor.data)
            size = tensor.parameters.get("binary_data_size")
            if size is None:
                tensors[tensor.name] = _from_json(tensor)
                continue
            tensors[tensor.name] = _binary(tensor, size, binary[at:])
            at += int(size)
        if at != len(binary):
            raise InvalidInput(
                "wrong-binary-size", f"{len(binary)} bytes follow the JSON, the inputs' binary_data_size add up to {at}"
            )
        if request.parameters is not None:
            keys += 1 + len(request.parameters)
        if request.outputs is not None:
            keys += 1 + sum(1 if o.parameters is None else 2 + len(o.parameters) for o in request.outputs)
        refuse_duplicates(body, keys)
        bound, rows = self._bind(tensors)
        call = Call(inputs=bound, rows=rows, id=request.id, parameters=request.parameters)
        if request.outputs is not None or request.parameters is not None:
            self._select(call, request)
        return call

    def _select(self, call: Call, request: _Request) -> None:
        """Which outputs are asked for, and which of them leave as raw bytes."""
        everything = bool((request.parameters or {}).get("binary_data_output", False))
        call.binary = everything
        if request.outputs is None:
            return
        binary = set()
        for output in request.outputs:
            if output.name not in self._outputs:
                raise InvalidInput(
                    "unknown-output",
                    f"there is no output {output.name[:60]!r}",
                    hint=f"this model gives {', '.join(sorted(self._outputs))}",
                )
            if (output.parameters or {}).get("binary_data", everything):
                binary.add(output.name)
        call.outputs, call.binary = tuple(output.name for output in request.outputs), frozenset(binary)

    def _raw(self, body: bytes) -> Call:
        """Raw mode: the body is the only input, a batch of one; the varying dimension follows from the size."""
        if len(self._inputs) != 1:
            raise InvalidInput("raw-mode", f"a raw body needs a model with one input, this one has {len(self._inputs)}")
        field = self._inputs[0]
        rest = field.shape[1:] if field.shape[:1] == (-1,) else field.shape
        if -1 in rest:
            raise InvalidInput(
                "raw-mode", f"input {field.name!r} has shape {list(field.shape)}: a raw body cannot tell its dimensions"
            )
        bound, rows = self._bind(
            {field.name: from_bytes(body, field.datatype, (1, *rest) if rest != field.shape else rest)}
        )
        return Call(inputs=bound, rows=rows, binary=True)

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, int]:
        """The response body, and the length of its JSON part when raw tensors follow (else 0)."""
        described: list[_Output] = []
        blocks: list[bytes] = []
        for name in call.outputs or outputs:
            array = outputs[name]
            if call.binary and (call.binary is True or name in call.binary):
                block = to_bytes(array)
                blocks.append(block)
                described.append(
                    _Output(name, datatype_of(array), array.shape, parameters={"binary_data_size": len(block)})
                )
            else:
                described.append(_Output(name, datatype_of(array), array.shape, json_values(name, array)))
        head = _encode(_Response(self._name, self._version, described, call.id))
        return (b"".join((head, *blocks)), len(head)) if blocks else (head, 0)


def _from_json(tensor: _Input) -> Array:
    raw = bytes(tensor.data)
    if not raw:
        raise InvalidInput("missing-data", f"input {tensor.name!r} has neither data nor binary_data_size")
    return tensor_of_json(tensor.name, tensor.datatype, tensor.shape, raw)


def _binary(tensor: _Input, size: Parameter, rest: bytes) -> Array:
    if type(size) is not int or size < 0 or size > len(rest):
        raise InvalidInput(
            "wrong-binary-size", f"input {tensor.name!r}: binary_data_size {size!r}, {len(rest)} bytes are left"
        )
    if tensor.data:
        raise InvalidInput("invalid-value", f"input {tensor.name!r} has both data and binary_data_size")
    check_shape(tensor.name, tensor.shape)
    return from_bytes(rest[:size], tensor.datatype, tensor.shape)
