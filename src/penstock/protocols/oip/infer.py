"""Infer requests and responses: bytes to a Call, outputs to bytes."""

from __future__ import annotations

from math import prod
from typing import Any

import msgspec

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature
from penstock.core.tensors import DTYPES, Array, Tensors, from_bytes, to_bytes
from penstock.protocols.duplicates import refuse_duplicates
from penstock.protocols.form import NO_HEADERS, Headers
from penstock.protocols.oip.json_data import check_shape, json_values, tensor_of_json, text_values
from penstock.protocols.oip.selection import Selection
from penstock.protocols.oip.usual import usual_inputs
from penstock.protocols.problems import JSON

Parameter = bool | int | float | str
"""What a parameter of a call may be."""


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


LENGTH_HEADER = b"inference-header-content-length"
_BINARY = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n"
_MOST_FORMS = 1024
_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


class InferCodec:
    """Reads infer requests for one version of a model and writes its answers."""

    def __init__(self, name: str, version: str, signature: Signature, *, text_only: bool = True) -> None:
        self._head = b'{"model_name":%b,"model_version":%b' % (_encode(name), _encode(version))
        self._inputs = signature.inputs
        self._batched = signature.batched
        self._count = len(signature.inputs)
        self._usual = usual_inputs(signature.inputs) if signature.batched else {}
        self._datatypes = {field.name: field.datatype for field in signature.outputs}
        self._selection = Selection(signature)
        self._text = {field.name for field in signature.outputs if field.datatype == "BYTES"}
        self._forms: dict[tuple[object, ...], bytes] = {}
        self._bind = Binder(signature, text_only=text_only)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a request body; raises InvalidInput.

        The header `Inference-Header-Content-Length` tells how many bytes the JSON takes before raw tensors follow; 0
        means that the whole body is the only input.
        """
        length = headers.get(LENGTH_HEADER)
        if length is None:
            return self._call(_read(body), b"", body)
        header_length = _json_length(length)
        if header_length == 0:
            return self._raw(body)
        if header_length > len(body):
            raise InvalidInput(
                "wrong-header-length",
                f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes",
            )
        head = body[:header_length]
        return self._call(_read(head), body[header_length:], head)

    def _call(self, request: _Request, binary: bytes, body: bytes) -> Call:
        tensors: Tensors = {}
        keys, at, rows = 1, 0, -1
        for tensor in request.inputs:
            name = tensor.name
            if name in tensors:
                raise InvalidInput("duplicate-input", f"input {name[:60]!r} is given twice")
            keys += 4
            size = None
            if tensor.parameters is not None:
                size = tensor.parameters.get("binary_data_size")
                keys += len(tensor.parameters) + bool(tensor.data)
            if size is not None:
                tensors[name] = _binary(tensor, size, binary, at)
                at += int(size)
                rows = 0
                continue
            raw = bytes(tensor.data)
            reader = self._usual.get(name)
            array = None if reader is None else reader.read(tensor.datatype, tensor.shape, raw)
            if array is None:
                array, rows = tensor_of_json(name, tensor.datatype, tensor.shape, raw), 0
            elif rows != len(array):
                # The first input's rows; or, not equal to those, 0.
                rows = len(array) if rows < 0 else 0
            tensors[name] = array
        if at != len(binary):
            raise InvalidInput(
                "wrong-binary-size", f"{len(binary)} bytes follow the JSON, the inputs' binary_data_size add up to {at}"
            )
        if rows <= 0 or len(tensors) != self._count:
            # Not all of them in their usual form: the binder casts, or says what is wrong.
            tensors, rows = self._bind(tensors)
        call = Call(tensors, rows)
        if request.id is not None:
            call.id = request.id
            keys += 1
        if request.outputs is not None or request.parameters is not None:
            keys += self._select(call, request)
        refuse_duplicates(body, keys)
        return call

    def _select(self, call: Call, request: _Request) -> int:
        """Take parameters and requested outputs, raw or not; returns how many keys they had."""
        keys = 0
        everything = False
        if request.parameters is not None:
            call.parameters = request.parameters
            everything = _flag(request.parameters, "binary_data_output", False)
            keys = 1 + len(request.parameters)
        call.binary = everything
        if request.outputs is None:
            return keys
        call.binary = frozenset(
            output.name
            for output in request.outputs
            if (everything if output.parameters is None else _flag(output.parameters, "binary_data", everything))
        )
        self._selection.take(call, [(output.name, output.parameters or {}) for output in request.outputs])
        for output in request.outputs:
            keys += 1 if output.parameters is None else 2 + len(output.parameters)
        return keys + 1

    def _raw(self, body: bytes) -> Call:
        """Raw mode: the body is the only input, a batch of one; the varying dimension follows from the size."""
        if len(self._inputs) != 1:
            raise InvalidInput("raw-mode", f"a raw body needs a model with one input, this one has {len(self._inputs)}")
        field = self._inputs[0]
        shape = list(field.shape)
        if self._batched:
            shape[0] = 1
        if shape.count(-1) > 1 or (-1 in shape and field.datatype == "BYTES"):
            raise InvalidInput(
                "raw-mode", f"input {field.name!r} has shape {list(field.shape)}: a raw body cannot tell its dimensions"
            )
        if -1 in shape:
            # Rounded down: a size that does not fit is refused by the next line.
            shape[shape.index(-1)] = len(body) // (DTYPES[field.datatype].itemsize * -prod(shape) or 1)
        bound, rows = self._bind({field.name: from_bytes(body, field.datatype, shape)})
        return Call(bound, rows, binary=True)

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """The response body, and the header lines that tell whether raw tensors follow its JSON."""
        if call.style is not None:
            outputs = self._selection.shown(call, outputs)
        if call.binary or call.style is not None:
            return self._encode_raw(call, outputs)
        if call.outputs:
            outputs = {name: outputs[name] for name in call.outputs}
        shapes = (*outputs, *[array.shape for array in outputs.values()])
        form = self._forms.get(shapes) or self._form(shapes, outputs)
        if self._text:
            values = [_encode(self._values(name, array)) for name, array in outputs.items()]
        else:
            values = [_encode(json_values(array)) for array in outputs.values()]
        return form % (b"" if call.id is None else b',"id":%b' % _encode(call.id), *values), JSON

    def _form(self, key: tuple[object, ...], outputs: Tensors) -> bytes:
        """A response but for its id and values. It is the same for most answers, so it is kept; shapes are bounded."""
        if len(self._forms) >= _MOST_FORMS:
            self._forms.clear()
        openings = [self._opening(name, array).replace(b"%", b"%%") for name, array in outputs.items()]
        form = b'%b%%b,"outputs":[' % self._head.replace(b"%", b"%%")
        form += b",".join([opening + b'"data":%b}' for opening in openings]) + b"]}"
        self._forms[key] = form
        return form

    def _encode_raw(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """A response with some of its outputs, or all, as raw bytes behind the JSON."""
        parts: list[bytes] = []
        blocks: list[bytes] = []
        for name in call.outputs or outputs:
            array = outputs[name]
            opening = self._opening(name, array)
            if call.binary is True or (call.binary and name in call.binary):
                blocks.append(to_bytes(array))
                parts.append(b'%b"parameters":{"binary_data_size":%d}}' % (opening, len(blocks[-1])))
            else:
                parts.append(b'%b"data":%b}' % (opening, _encode(self._values(name, array))))
        given = b"" if call.id is None else b',"id":%b' % _encode(call.id)
        head = b'%b%b,"outputs":[%b]}' % (self._head, given, b",".join(parts))
        return b"".join((head, *blocks)), _BINARY % len(head) if blocks else JSON

    def _values(self, name: str, array: Array) -> list[Any]:
        return text_values(name, array) if array.dtype.kind == "O" else json_values(array)

    def _opening(self, name: str, array: Array) -> bytes:
        """The text before an output's values."""
        # An output that is asked for as classification is text, whatever it is else.
        datatype = "BYTES" if array.dtype.kind == "O" else self._datatypes[name]
        return _encode({"name": name, "datatype": datatype, "shape": array.shape})[:-1] + b","


def _json_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > 12:
        raise InvalidInput("wrong-header-length", "Inference-Header-Content-Length is not a whole number of bytes")
    return int(value)


def _read(body: bytes) -> _Request:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-json", f"the body is not an infer request: {str(error)[:300]}") from None


def _flag(parameters: dict[str, Parameter], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    # "false" is true to Python: taken loosely it would give the client bytes that it reads as text.
    if type(value) is not bool:
        raise InvalidInput("invalid-value", f"the parameter {name} is {str(value)[:40]!r}, not true or false")
    return value


def _binary(tensor: _Input, size: Parameter, binary: bytes, at: int) -> Array:
    if type(size) is not int or size < 0 or size > len(binary) - at:
        raise InvalidInput(
            "wrong-binary-size", f"input {tensor.name!r}: binary_data_size {size!r}, {len(binary) - at} bytes are left"
        )
    if tensor.data:
        raise InvalidInput("invalid-value", f"input {tensor.name!r} has both data and binary_data_size")
    check_shape(tensor.name, tensor.shape)
    return from_bytes(binary[at : at + size], tensor.datatype, tensor.shape)
