"""ModelInferRequest and ModelInferResponse: bytes to a Call, outputs to bytes.

An answer's contents are raw if the request's were, typed otherwise; FP16 has no typed form, so an answer that holds it
is raw, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.tensors import DTYPES, Array, Tensors, datatype_of, dtype_of, from_bytes, to_bytes
from penstock.protocols.form import NO_HEADERS, FirstReader, Headers, ModelView
from penstock.protocols.messages import messages, read
from penstock.protocols.oip.form import first_binary
from penstock.protocols.oip.json_data import check_shape, wrong_count
from penstock.protocols.oip.selection import Selection
from penstock.protocols.typed_values import flat_of, values_of

message = messages(Path(__file__).with_name("open_inference.binpb"), "inference")
_REQUEST, _HEAD, _RESPONSE = message("ModelInferRequest"), message("ModelInferHead"), message("ModelInferResponse")
_STREAMED = message("ModelStreamInferResponse")

# fmt: off
# Which field of InferTensorContents holds a datatype's values; integers of 8 and 16 bits travel in 32.
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}
# fmt: on


class GrpcInferCodec:
    """Reads infer requests for one version of a model and writes its answers."""

    def __init__(self, view: ModelView) -> None:
        self._name = view.endpoint
        self._version = view.version
        self._bind = Binder(view.signature, text_only=view.text_only)
        self._selection = Selection(view.signature)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a ModelInferRequest; raises InvalidInput."""
        request = read(_REQUEST, body)
        raw = request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise InvalidInput(
                "wrong-raw-contents", f"{len(raw)} raw_input_contents for {len(request.inputs)} inputs",
                hint="give each input's, in the order of the inputs, or typed contents for all",
            )  # fmt: skip
        tensors: Tensors = {}
        for index, tensor in enumerate(request.inputs):
            name = tensor.name
            if name in tensors:
                raise InvalidInput("duplicate-input", f"input {name[:60]!r} is given twice")
            tensors[name] = _raw(tensor, raw[index]) if raw else _typed(tensor)
        bound, rows = self._bind(tensors)
        call = Call(bound, rows, id=request.id or None, binary=bool(raw))
        if request.parameters:
            call.parameters = parameters_of(request.parameters)
        if request.outputs:
            self._selection.take(call, [(output.name, parameters_of(output.parameters)) for output in request.outputs])
        return call

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """A ModelInferResponse; no header line."""
        if call.style is not None:
            outputs = self._selection.shown(call, outputs)
        response = _RESPONSE(model_name=self._name, model_version=self._version, id=call.id or "")
        names = call.outputs or tuple(outputs)
        raw = call.binary or any(outputs[name].dtype == np.float16 for name in names)
        for name in names:
            array = outputs[name]
            datatype = datatype_of(array)
            tensor = response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            if raw:
                response.raw_output_contents.append(to_bytes(array))
            else:
                getattr(tensor.contents, CONTENTS[datatype]).extend(values_of(array))
        return response.SerializeToString(), b""


def head_of(body: bytes) -> tuple[str, str, str]:
    """Name and version of the model that a ModelInferRequest is for, and its id; raises InvalidInput."""
    head = read(_HEAD, body)
    return head.model_name, head.model_version, head.id


def streamed(body: bytes) -> bytes:
    """A ModelInferResponse as Triton's stream has it."""
    return bytes(_STREAMED(infer_response=_RESPONSE.FromString(body)).SerializeToString())


def streamed_failure(text: str, request_id: str) -> bytes:
    """A failure of one request as Triton's stream has it."""
    return bytes(_STREAMED(error_message=text, infer_response=_RESPONSE(id=request_id)).SerializeToString())


def parameters_of(parameters: Any) -> dict[str, Any]:
    """The values of a map of InferParameter; one without a value is left out."""
    chosen = {name: (parameter, parameter.WhichOneof("parameter_choice")) for name, parameter in parameters.items()}
    return {name: getattr(parameter, choice) for name, (parameter, choice) in chosen.items() if choice}


def _raw(tensor: Any, data: bytes) -> Array:
    if tensor.HasField("contents") and tensor.contents.ListFields():
        raise InvalidInput(
            "mixed-contents", f"input {tensor.name[:60]!r} has typed contents beside raw_input_contents",
            hint="send all inputs in one of the two forms",
        )  # fmt: skip
    shape = list(tensor.shape)
    check_shape(tensor.name, shape)
    return from_bytes(data, tensor.datatype, shape)


def _typed(tensor: Any) -> Array:
    name, datatype, shape = tensor.name, tensor.datatype, list(tensor.shape)
    dtype_of(datatype)  # Raises for a datatype that there is not.
    count = check_shape(name, shape)
    field = CONTENTS.get(datatype)
    given = [found.name for found, _ in tensor.contents.ListFields()]
    if field is None or (given and given != [field]):
        raise InvalidInput(
            "wrong-contents",
            f"input {name[:60]!r} of {datatype} has its values in {', '.join(given) or 'no field'}",
            hint=f"{datatype} takes {field or 'raw_input_contents only'}",
        )
    values = getattr(tensor.contents, field)
    if len(values) != count:
        raise wrong_count(name, shape, len(values))
    return flat_of(name, datatype, field, values).reshape(shape)


def first_reader(name: str) -> FirstReader:
    """A reader of the first value of one input."""

    def read_first(body: bytes, headers: Headers) -> Any:
        request = read(_REQUEST, body)
        for index, tensor in enumerate(request.inputs):
            if tensor.name == name:
                if request.raw_input_contents:
                    return first_binary(tensor.datatype, tensor.shape, request.raw_input_contents[index])
                # Of FP32 the digits that FP32 has, as in the other forms.
                value = getattr(tensor.contents, CONTENTS[tensor.datatype])[0]
                return value if tensor.datatype == "BYTES" else DTYPES[tensor.datatype].type(value)
        return None

    return read_first
