"""The methods of TensorFlow Serving: PredictionService Predict and GetModelMetadata, ModelService GetModelStatus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.errors import InvalidInput
from penstock.core.routes import arm_of_version
from penstock.core.signature import Field
from penstock.protocols.address import ModelAddress
from penstock.protocols.messages import read
from penstock.protocols.tfserving.documents import error_code
from penstock.protocols.tfserving.grpc_form import GRPC_PREDICT
from penstock.protocols.tfserving.grpc_predict import SIGNATURE, address_of, message, put_spec, version_number
from penstock.protocols.tfserving.grpc_tensors import NUMBERS
from penstock.serving.addresses import pinned_version
from penstock.serving.arms import ServedArm
from penstock.serving.grpc.methods import CallMethod, PageMethod
from penstock.serving.pages.tfserving import states
from penstock.serving.pages.visit import Visit

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
_STATES = {"START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}
# google.rpc.Code
_CODES = {
    "OK": 0, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "PERMISSION_DENIED": 7, "UNIMPLEMENTED": 12,
    "UNAVAILABLE": 14,
}  # fmt: skip
_ANY = "type.googleapis.com/tensorflow.serving."


def _called(body: bytes) -> ModelAddress:
    return address_of(body, GRPC_PREDICT.name)


def _metadata(visit: Visit) -> bytes:
    asked = set(read(message("GetModelMetadataRequest"), visit.request.body).metadata_field)
    if asked != {"signature_def"}:
        raise InvalidInput(
            "unknown-metadata", f"metadata_field is {', '.join(sorted(asked))[:80] or 'empty'}",
            hint="ask for signature_def",
        )  # fmt: skip
    arm = _arm(visit)
    signature = message("SignatureDef")(method_name="tensorflow/serving/predict")
    for infos, fields in ((signature.inputs, arm.signature.inputs), (signature.outputs, arm.signature.outputs)):
        for field in fields:
            _put_info(infos[field.name], field)
    definitions = message("SignatureDefMap")()
    definitions.signature_def[SIGNATURE].CopyFrom(signature)
    response = message("GetModelMetadataResponse")()
    put_spec(response.model_spec, visit.name, arm.arm.version)
    response.metadata["signature_def"].type_url = f"{_ANY}SignatureDefMap"
    response.metadata["signature_def"].value = definitions.SerializeToString()
    return bytes(response.SerializeToString())


def _put_info(info: Any, field: Field) -> None:
    info.name, info.dtype = field.name, NUMBERS[field.datatype]
    for size in field.shape:
        info.tensor_shape.dim.add(size=size)


def _status(visit: Visit) -> bytes:
    response = message("GetModelStatusResponse")()
    for one in states(visit):
        status = response.model_version_status.add(version=version_number(one.version), state=_STATES[one.state])
        status.status.error_code, status.status.error_message = _CODES[error_code(one)], one.problem
    return bytes(response.SerializeToString())


def _arm(visit: Visit) -> ServedArm:
    """The arm that is pinned, or the one that most calls go to."""
    endpoint = visit.endpoint
    version = pinned_version(endpoint, visit.address)
    if version is not None:
        return endpoint.arms[arm_of_version(endpoint.route, version)]
    return max(endpoint.arms, key=lambda arm: arm.arm.weight)


CALLS: Mapping[str, CallMethod] = {f"{PREDICTION}Predict": CallMethod(GRPC_PREDICT, _called)}
PAGES: Mapping[str, PageMethod] = {
    f"{PREDICTION}GetModelMetadata": PageMethod(_metadata, address_of),
    f"{MODEL}GetModelStatus": PageMethod(_status, address_of),
}
