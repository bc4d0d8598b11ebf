"""The documents of the pages: which versions there are and in what state, and what a version takes and gives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from penstock.core.signature import Field, Signature
from penstock.protocols.tfserving.predict import SIGNATURE

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
_DTYPES = {
    "BOOL": "DT_BOOL", "BYTES": "DT_STRING", "FP16": "DT_HALF", "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE",
    **{f"{sign}INT{bits}": f"DT_{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip
# By the kind of a failure, the names of google.rpc.Code.
_CODES = {"invalid": "INVALID_ARGUMENT", "not-found": "NOT_FOUND", "refused": "PERMISSION_DENIED",
          "unsupported": "UNIMPLEMENTED", "unavailable": "UNAVAILABLE"}  # fmt: skip


class VersionState(msgspec.Struct, frozen=True):
    """A version and how far it is; one that failed has the kind of the failure and what was wrong."""

    version: str
    state: State
    problem: str = ""
    kind: str = ""


def status(versions: Iterable[VersionState]) -> dict[str, Any]:
    """The document of a model's status.

    Example:
        >>> status([VersionState("7", "AVAILABLE")])["model_version_status"][0]["status"]
        {'error_code': 'OK', 'error_message': ''}
    """
    return {
        "model_version_status": [
            {
                "version": one.version,
                "state": one.state,
                "status": {"error_code": error_code(one), "error_message": one.problem},
            }
            for one in versions
        ]
    }


def error_code(one: VersionState) -> str:
    """The name of what is wrong with a version among google.rpc.Code, `OK` if nothing is."""
    return _CODES.get(one.kind, "UNKNOWN") if one.problem else "OK"


def metadata(name: str, version: str, signature: Signature) -> dict[str, Any]:
    """The document of a version's metadata; sizes are text, as protobuf's JSON has them."""
    definition = {
        "inputs": {field.name: _tensor(field) for field in signature.inputs},
        "outputs": {field.name: _tensor(field) for field in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": version},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: definition}}},
    }


def _tensor(field: Field) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in field.shape]
    shape = {"dim": dimensions, "unknown_rank": False}
    return {"dtype": _DTYPES[field.datatype], "tensor_shape": shape, "name": field.name}
