"""Tensors and rows to request bytes, answer bytes to tensors and predictions. Pure.

Numbers travel as raw bytes both ways (the protocol's binary tensor extension): always exact, as fast as JSON for one
row and 3.6 times faster for 4096 rows of 30. Text travels as JSON, which can say that a value is missing; bytes that
are not text travel raw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.signature import Scalar
from penstock.core.tensors import Array, Tensors, datatype_of, dtype_of, from_bytes, to_bytes
from penstock.sdk.messages import Incoming, Outgoing
from penstock.sdk.prediction import Prediction, Values
from penstock.sdk.problems import unexpected

Parameters = Mapping[str, bool | int | float | str]
_JSON_LENGTH = "inference-header-content-length"
_encode = msgspec.json.Encoder().encode


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class _Inferred(msgspec.Struct):
    outputs: list[_Tensor]
    model_version: str = ""
    id: str = ""


class _Predicted(msgspec.Struct):
    version: str
    id: str = ""
    predictions: list[Any] | None = None
    probabilities: list[Any] | None = None
    classes: tuple[Scalar, ...] | None = None
    outputs: dict[str, Any] = {}


_decode_inferred = msgspec.json.Decoder(_Inferred).decode
_decode_predicted = msgspec.json.Decoder(_Predicted).decode


# ---- requests


def model_path(endpoint: str, version: str | None, verb: str = "") -> str:
    """The address of an endpoint's metadata, or of a verb on it.

    Example:
        >>> model_path("churn", "churn/7", "infer")
        '/v2/models/churn/versions/churn%2F7/infer'
    """
    pinned = "" if version is None else f"/versions/{quote(version, safe='')}"
    return f"/v2/models/{quote(endpoint, safe='')}{pinned}{verb and '/' + verb}"


def encode_rows(endpoint: str, rows: Sequence[Mapping[str, Any]], call_id: str | None) -> Outgoing:
    """The friendly form: the node knows the columns' types and does all the checking."""
    document: dict[str, Any] = {"rows": rows}
    if call_id is not None:
        document["id"] = call_id
    path = f"/predict/{quote(endpoint, safe='')}"
    return Outgoing("POST", path, {"content-type": "application/json"}, json_of(document))


def encode_infer(
    endpoint: str,
    tensors: Tensors,
    *,
    version: str | None = None,
    outputs: Sequence[str] | None = None,
    parameters: Parameters | None = None,
    call_id: str | None = None,
) -> Outgoing:
    """An infer request; raises InvalidInput for text with both missing values and bytes that are not text."""
    described, blocks = [], []
    for name, array in tensors.items():
        tensor: dict[str, Any] = {"name": name, "shape": array.shape, "datatype": datatype_of(array)}
        if _is_text(array):
            tensor["data"] = array.ravel().tolist()
        else:
            blocks.append(_raw(name, array))
            tensor["parameters"] = {"binary_data_size": len(blocks[-1])}
        described.append(tensor)
    document: dict[str, Any] = {"inputs": described, "parameters": {**(parameters or {}), "binary_data_output": True}}
    if outputs is not None:
        document["outputs"] = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
    if call_id is not None:
        document["id"] = call_id
    head = json_of(document)
    path = model_path(endpoint, version, "infer")
    if not blocks:
        return Outgoing("POST", path, {"content-type": "application/json"}, head)
    headers = {"content-type": "application/octet-stream", _JSON_LENGTH: str(len(head))}
    return Outgoing("POST", path, headers, b"".join((head, *blocks)))


def encode_pinned_rows(
    endpoint: str, version: str, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, Any], call_id: str | None
) -> Outgoing:
    """Rows for one version: `/predict` has no address for that, so they go as JSON columns of its declared types."""
    fields = metadata["inputs"]
    names = {field["name"] for field in fields}
    for number, row in enumerate(rows):
        if row.keys() != names:
            wrong = sorted(map(str, row.keys() ^ names))[:5]
            hint = f"this model takes {', '.join(sorted(names))}"
            raise InvalidInput("wrong-inputs", f"row {number}: missing or unknown {', '.join(wrong)}", hint=hint)
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": field["name"],
                "datatype": field["datatype"],
                "shape": [len(rows), *_inner(field["shape"], rows[0][field["name"]] if rows else None)],
                "data": [row[field["name"]] for row in rows],
            }
            for field in fields
        ]
    }
    if call_id is not None:
        document["id"] = call_id
    headers = {"content-type": "application/json"}
    return Outgoing("POST", model_path(endpoint, version, "infer"), headers, json_of(document))


def json_of(document: dict[str, Any]) -> bytes:
    """JSON, with numpy's scalars and arrays as plain values and NaN as null, which is how a missing value is said.

    Raises InvalidInput for infinity, which JSON cannot say and which must not become a missing value unseen.
    """
    try:
        text = msgspec.json.encode(document, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput("unsupported-data", f"the data cannot be written as JSON: {error}") from None
    if b"null" in text and _has_infinity(document):
        raise InvalidInput("invalid-value", "the data has an infinite value, which no model takes")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    raise TypeError(f"a value of type {type(value).__name__}")


def _has_infinity(value: Any) -> bool:
    if isinstance(value, (float, np.floating)):
        return math.isinf(value)
    if isinstance(value, Mapping):
        return any(map(_has_infinity, value.values()))
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f" and bool(np.isinf(value).any())
    return isinstance(value, (list, tuple)) and any(map(_has_infinity, value))


def _is_text(array: Array) -> bool:
    kind = array.dtype.kind
    return kind in "UT" or (kind == "O" and not any(type(element) is bytes for element in array.ravel().tolist()))


def _raw(name: str, array: Array) -> bytes:
    if array.dtype.kind == "O" and any(element is None for element in array.ravel().tolist()):
        raise InvalidInput(
            "unsupported-column", f"input {name!r} has bytes and missing values; the wire carries one only"
        )
    return to_bytes(array)


def _inner(shape: Sequence[int], value: Any) -> list[int]:
    """The dimensions of one row; what the model leaves open is taken from the first row."""
    found = np.shape(value) if -1 in shape[1:] else ()
    return [size if size != -1 else int(found[axis]) for axis, size in enumerate(shape[1:])]


# ---- answers


def decode_infer(answer: Incoming, address: str) -> tuple[Tensors, _Inferred]:
    """The output tensors of an infer answer and what it says about itself; arrays are read-only."""
    head, blocks = answer.body, memoryview(b"")
    try:
        if (length := answer.headers.get(_JSON_LENGTH)) is not None:
            head, blocks = answer.body[: int(length)], memoryview(answer.body)[int(length) :]
        document = _decode_inferred(head)
        tensors: Tensors = {}
        for tensor in document.outputs:
            if (size := tensor.parameters.get("binary_data_size")) is not None:
                tensors[tensor.name] = from_bytes(blocks[:size], tensor.datatype, tensor.shape)
                blocks = blocks[size:]
            else:
                tensors[tensor.name] = np.array(tensor.data, dtype_of(tensor.datatype)).reshape(tensor.shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, TypeError, PenstockError):
        raise unexpected(answer, address) from None
    return tensors, document


def prediction_of_tensors(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in an infer answer, in arrays; it says nothing about classes."""
    tensors, document = decode_infer(answer, address)
    return _prediction(endpoint, answer, dict(tensors), document)


def prediction_of_columns(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in a JSON infer answer, in plain lists as for rows."""
    try:
        document = _decode_inferred(answer.body)
        lists = {
            tensor.name: np.array(tensor.data, object).reshape(tensor.shape).tolist() for tensor in document.outputs
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        raise unexpected(answer, address) from None
    return _prediction(endpoint, answer, lists, document)


def prediction_of_rows(endpoint: str, answer: Incoming, address: str) -> Prediction:
    """The prediction in an answer to rows, in plain lists."""
    try:
        said = _decode_predicted(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unexpected(answer, address) from None
    return Prediction(
        predictions=said.predictions,
        probabilities=said.probabilities,
        classes=said.classes,
        outputs=said.outputs,
        **_origin(endpoint, answer, said.version, said.id),
    )


def document_of(answer: Incoming, address: str) -> dict[str, Any]:
    """The JSON object in an answer."""
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise unexpected(answer, address) from None


def _prediction(endpoint: str, answer: Incoming, outputs: dict[str, Values], document: _Inferred) -> Prediction:
    return Prediction(
        predictions=outputs.pop("predictions", None),
        probabilities=outputs.pop("probabilities", None),
        outputs=outputs,
        **_origin(endpoint, answer, document.model_version, document.id),
    )


def _origin(endpoint: str, answer: Incoming, version: str, call_id: str) -> dict[str, Any]:
    headers = answer.headers
    return {
        "endpoint": endpoint,
        "version": headers.get("penstock-version", version),
        "arm": headers.get("penstock-arm", ""),
        "reason": headers.get("penstock-reason", ""),
        "id": call_id or headers.get("x-request-id", ""),
    }
