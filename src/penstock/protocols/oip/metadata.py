"""Server and model metadata, and the small bodies of the health checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.core.signature import Field, Signature

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "generate",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
]
_NOTHING: Mapping[str, Any] = {}
_encode = msgspec.json.Encoder().encode


def server_metadata(version: str, more: Mapping[str, Any] = _NOTHING) -> bytes:
    """The body of `GET /v2`, and with `more` keys that of `GET /`.

    Example:
        >>> server_metadata("0.1.0")[:52]
        b'{"name":"penstock","version":"0.1.0","extensions":["'
    """
    return _encode({"name": "penstock", "version": version, "extensions": EXTENSIONS, **more})


def model_metadata(name: str, versions: list[str], platform: str, signature: Signature) -> bytes:
    """The body of `GET /v2/models/{name}`. Parameters say what the protocol has no word for."""
    document: dict[str, Any] = {
        "name": name,
        "versions": versions,
        "platform": platform,
        "inputs": [_tensor(field) for field in signature.inputs],
        "outputs": [_tensor(field) for field in signature.outputs],
    }
    if signature.classes is not None:
        document["classes"] = signature.classes
    return _encode(document)


def _tensor(field: Field) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if field.nullable:
        parameters["nullable"] = True
    if field.integers:
        parameters["integers"] = field.integers
    if field.categories is not None and not field.sensitive:
        parameters["categories"] = field.categories
    tensor = {"name": field.name, "datatype": field.datatype, "shape": field.shape}
    return {**tensor, "parameters": parameters} if parameters else tensor


def health(word: str, value: bool) -> bytes:
    """A health check's body.

    Example:
        >>> health("ready", True)
        b'{"ready":true}'
    """
    return _encode({word: value})


def model_ready(name: str, ready: bool, reason: str = "") -> bytes:
    """The body of `GET /v2/models/{name}/ready`."""
    return _encode({"name": name, "ready": ready, **({"error": reason} if reason else {})})
