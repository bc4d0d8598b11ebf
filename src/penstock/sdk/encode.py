"""Rows and tensors to requests. Pure.

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

from penstock.core.errors import InvalidInput
from penstock.core.tensors import Array, Tensors, datatype_of, to_bytes
from penstock.sdk.decode import InputField
from penstock.sdk.messages import JSON_LENGTH, Outgoing

Parameters = Mapping[str, bool | int | float | str]


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
    headers = {"content-type": "application/octet-stream", JSON_LENGTH: str(len(head))}
    return Outgoing("POST", path, headers, b"".join((head, *blocks)))


def encode_pinned_rows(
    endpoint: str, version: str, rows: Sequence[Mapping[str, Any]], fields: Sequence[InputField], call_id: str | None
) -> Outgoing:
    """Rows for one version: `/predict` has no address for that, so they go as JSON columns of its declared types."""
    names = {field.name for field in fields}
    for number, row in enumerate(rows):
        if row.keys() != names:
            wrong = sorted(map(str, row.keys() ^ names))[:5]
            hint = f"this model takes {', '.join(sorted(names))}"
            raise InvalidInput("wrong-inputs", f"row {number}: missing or unknown {', '.join(wrong)}", hint=hint)
    document: dict[str, Any] = {
        "inputs": [
            {
                "name": field.name,
                "datatype": field.datatype,
                "shape": [len(rows), *_inner(field.shape, rows[0][field.name] if rows else None)],
                "data": [row[field.name] for row in rows],
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
