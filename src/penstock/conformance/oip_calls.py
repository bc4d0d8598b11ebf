"""Calls of the Open Inference Protocol: which model is asked, and with what."""

from __future__ import annotations

import math
from typing import Any

from penstock.conformance.case import Server, Skipped, demand_status, json_of

_INTEGERS = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}


def model_of(server: Server) -> str:
    """The model that is asked: the one named, or the first that the server lists."""
    if not server.model:
        for answer in (server.get("/v2/models"), server.post("/v2/repository/index", {})):
            if answer.status_code == 200:
                listed = json_of(answer)
                listed = listed.get("models", []) if isinstance(listed, dict) else listed
                names = [one if isinstance(one, str) else one["name"] for one in listed]
                if names:
                    server.model = names[0]
                    break
        else:
            raise Skipped("the server lists no model; name one")
    return server.model


def path(server: Server, what: str = "") -> str:
    """The address of the model, or of something below it."""
    return f"/v2/models/{model_of(server)}{what}"


def good_call(server: Server, rows: int = 1) -> dict[str, Any]:
    """A call that the model should answer: the example, or values of the kinds that the metadata name."""
    if server.example is not None:
        return {**server.example, "inputs": [_rows_of(tensor, rows) for tensor in server.example["inputs"]]}
    metadata = json_of(server.get(path(server)))
    return {"inputs": [_tensor(one, rows) for one in metadata["inputs"]]}


def _rows_of(tensor: dict[str, Any], rows: int) -> dict[str, Any]:
    """So many rows like the example's first one; of decimals the first value differs, so that no two are alike."""
    size = math.prod(tensor["shape"][1:])
    row = flat(tensor["data"])[:size]
    shift = 0.5 if tensor["datatype"] in ("FP32", "FP64") and row else 0
    data = [value for index in range(rows) for value in ([row[0] + index * shift, *row[1:]] if shift else row)]
    return {**tensor, "shape": [rows, *tensor["shape"][1:]], "data": data}


def _tensor(field: dict[str, Any], rows: int) -> dict[str, Any]:
    shape = [int(size) for size in field["shape"]]
    shape = [(rows if axis == 0 else 1) if size == -1 else size for axis, size in enumerate(shape)]
    categories = field.get("parameters", {}).get("categories")
    count = math.prod(shape)
    datatype = field["datatype"]
    if categories:
        values = [categories[index % len(categories)] for index in range(count)]
    elif datatype == "BYTES":
        values = [f"text {index}" for index in range(count)]
    elif datatype == "BOOL":
        values = [index % 2 == 0 for index in range(count)]
    else:
        values = [index % 7 if datatype in _INTEGERS else index % 7 + 0.5 for index in range(count)]
    return {"name": field["name"], "shape": shape, "datatype": datatype, "data": values}


def infer(server: Server, call: dict[str, Any]) -> dict[str, Any]:
    """The answer to a call that must be answered."""
    answer = server.post(path(server, "/infer"), call)
    demand_status(answer, 200)
    document: dict[str, Any] = json_of(answer)
    return document


def values_of(document: dict[str, Any]) -> dict[str, list[Any]]:
    """The values of each output, flat."""
    return {one["name"]: flat(one["data"]) for one in document["outputs"]}


def flat(data: Any) -> list[Any]:
    """Data without its nesting."""
    return [value for one in data for value in flat(one)] if isinstance(data, list) else [data]


def identity_of(server: Server, *datatypes: str) -> tuple[str, dict[str, Any]]:
    """The model that gives back its input, and that input's description."""
    if not server.identity:
        raise Skipped("needs a model that gives back its input: name one with --identity")
    found = json_of(server.get(f"/v2/models/{server.identity}"))
    field = found["inputs"][0]
    if datatypes and field["datatype"] not in datatypes:
        raise Skipped(f"the identity model takes {field['datatype']}, the case needs {' or '.join(datatypes)}")
    return f"/v2/models/{server.identity}/infer", field
