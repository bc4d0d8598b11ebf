"""PredictRequest and PredictResponse: bytes to a Call, outputs to bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.core.binding import Binder
from penstock.core.calls import Call
from penstock.core.errors import InvalidInput
from penstock.core.tensors import Tensors
from penstock.protocols.address import ModelAddress
from penstock.protocols.form import NO_HEADERS, FirstReader, Headers, ModelView
from penstock.protocols.messages import messages, read
from penstock.protocols.oip.selection import Selection
from penstock.protocols.tfserving.grpc_tensors import Budget, first_value, put, tensor_of

message = messages(Path(__file__).with_name("tf_serving.binpb"), "tensorflow.serving")
_REQUEST, _RESPONSE, _HEAD = message("PredictRequest"), message("PredictResponse"), message("SpecHead")
# A bundle has one signature, under the name that TensorFlow gives the default.
SIGNATURE = "serving_default"


class GrpcPredictCodec:
    """Reads predict requests for one version of a model and writes its answers."""

    def __init__(self, view: ModelView) -> None:
        self._name = view.endpoint
        self._version = view.version
        self._bind = Binder(view.signature, text_only=view.text_only)
        self._selection = Selection(view.signature)

    def decode(self, body: bytes, headers: Headers = NO_HEADERS) -> Call:
        """The call in a PredictRequest; raises InvalidInput, TooLarge."""
        request = read(_REQUEST, body)
        signature = request.model_spec.signature_name
        if signature not in ("", SIGNATURE):
            raise InvalidInput(
                "unknown-signature", f"there is no signature {signature[:60]!r}",
                hint=f"leave signature_name out, or say {SIGNATURE}",
            )  # fmt: skip
        # Names first: a tensor may ask in a few bytes to be filled up to megabytes.
        self._bind.check_names(request.inputs)
        budget = Budget()
        bound, rows = self._bind({name: tensor_of(name, proto, budget) for name, proto in request.inputs.items()})
        call = Call(bound, rows)
        if request.output_filter:
            self._selection.take(call, [(name, {}) for name in request.output_filter])
        return call

    def encode(self, call: Call, outputs: Tensors) -> tuple[bytes, bytes]:
        """A PredictResponse; no header line."""
        response = _RESPONSE()
        put_spec(response.model_spec, self._name, self._version)
        for name in call.outputs or outputs:
            put(response.outputs[name], outputs[name])
        return response.SerializeToString(), b""


def address_of(body: bytes, verb: str = "") -> ModelAddress:
    """The model in a message whose first field is a ModelSpec; raises InvalidInput."""
    spec = read(_HEAD, body).model_spec
    chosen = spec.WhichOneof("version_choice")
    version = str(spec.version.value) if chosen == "version" else None
    return ModelAddress(spec.name or None, version, verb, spec.version_label if chosen == "version_label" else None)


def put_spec(spec: Any, name: str, version: str) -> None:
    """Write a ModelSpec. Versions are numbers there: the digest of a bundle without a registry is left out."""
    spec.name, spec.signature_name = name, SIGNATURE
    if version_number(version):
        spec.version.value = version_number(version)


def version_number(version: str) -> int:
    """The number of a version, 0 where it is none.

    Example:
        >>> version_number("churn/7"), version_number("0a1b2c3d4e5f")
        (7, 0)
    """
    number = version.rpartition("/")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0


def first_reader(name: str) -> FirstReader:
    """A reader of the first value of one input."""

    def read_first(body: bytes, headers: Headers) -> Any:
        inputs = read(_REQUEST, body).inputs
        return first_value(inputs[name]) if name in inputs else None

    return read_first
