"""The Open Inference Protocol v2 over REST, with its binary data extension."""

from __future__ import annotations

import gzip
import json
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.conformance.case import Failed, Server, Skipped, cases_of, demand, demand_refused, demand_status, json_of
from penstock.conformance.oip_calls import flat, good_call, identity_of, infer, model_of, path, values_of

_SIZES = {"BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FP16": 2, "INT32": 4, "UINT32": 4, "FP32": 4,
          "INT64": 8, "UINT64": 8, "FP64": 8}  # fmt: skip
_CALLERS = 16


# ---- health and metadata


def live(server: Server) -> None:
    """Server live: GET /v2/health/live answers 200."""
    demand_status(server.get("/v2/health/live"), 200)


def ready(server: Server) -> None:
    """Server ready: GET /v2/health/ready answers 200."""
    demand_status(server.get("/v2/health/ready"), 200)


def server_metadata(server: Server) -> None:
    """Server metadata: GET /v2 gives name, version and extensions."""
    answer = server.get("/v2")
    demand_status(answer, 200)
    found = json_of(answer)
    demand(isinstance(found["name"], str) and isinstance(found["version"], str), f"name and version are text: {found}")
    demand(isinstance(found["extensions"], list), "extensions is a list")


def model_metadata(server: Server) -> None:
    """Model metadata: inputs and outputs have name, datatype and shape."""
    answer = server.get(path(server))
    demand_status(answer, 200)
    found = json_of(answer)
    demand(found["name"] == model_of(server), f"name is {found['name']!r}")
    demand(isinstance(found["platform"], str), "platform is text")
    for tensor in found["inputs"] + found["outputs"]:
        demand(isinstance(tensor["name"], str) and isinstance(tensor["datatype"], str), f"a tensor is {tensor}")
        demand(all(isinstance(size, int) for size in tensor["shape"]), f"a shape is {tensor['shape']}")


def model_ready(server: Server) -> None:
    """Model ready: a served model is ready."""
    demand_status(server.get(path(server, "/ready")), 200)


def unknown_model(server: Server) -> None:
    """Model ready: an unknown model is not ready, and neither known nor callable."""
    for answer in (
        server.get("/v2/models/no-such-model/ready"),
        server.get("/v2/models/no-such-model"),
        server.post("/v2/models/no-such-model/infer", good_call(server)),
    ):
        demand_refused(answer)


def unknown_version(server: Server) -> None:
    """Model versions: a version that is not served is refused, not answered by another one."""
    for answer in (
        server.get(path(server, "/versions/987654321/ready")),
        server.post(path(server, "/versions/987654321/infer"), good_call(server)),
    ):
        demand(answer.status_code >= 400, f"status {answer.status_code}: {answer.text[:160]}")


# ---- inference


def answer_shape(server: Server) -> None:
    """Infer response: model_name, and outputs with name, shape, datatype and data of that many values."""
    document = infer(server, good_call(server))
    demand(document["model_name"] == model_of(server), f"model_name is {document.get('model_name')!r}")
    for output in document["outputs"]:
        demand({"name", "shape", "datatype", "data"} <= set(output), f"an output has the keys {sorted(output)}")
        demand(
            len(flat(output["data"])) == math.prod(output["shape"]), f"{output['name']}: data does not fit its shape"
        )


def version_is_text(server: Server) -> None:
    """Infer response: model_version, where there is one, is a string."""
    version = infer(server, good_call(server)).get("model_version")
    demand(version is None or isinstance(version, str), f"model_version is {version!r}")


def id_is_echoed(server: Server) -> None:
    """Infer response: the request's id comes back."""
    found = infer(server, {**good_call(server), "id": 'a "b" ü'})
    demand(found.get("id") == 'a "b" ü', f"id is {found.get('id')!r}")


def requested_outputs(server: Server) -> None:
    """Infer request: only the outputs that are asked for come, in any order of calls."""
    call = good_call(server)
    names = [output["name"] for output in infer(server, call)["outputs"]]
    for name in names:
        found = infer(server, {**call, "outputs": [{"name": name}]})
        demand([one["name"] for one in found["outputs"]] == [name], f"asked for {name!r}, got {list(values_of(found))}")


def unknown_output(server: Server) -> None:
    """Infer request: an unknown output is refused."""
    answer = server.post(path(server, "/infer"), {**good_call(server), "outputs": [{"name": "no-such-output"}]})
    demand_refused(answer)


def each_its_own_rows(server: Server) -> None:
    """infer: concurrent calls each get exactly their own rows."""
    calls = [good_call(server, rows) for rows in range(1, _CALLERS + 1)]
    alone = [values_of(infer(server, call)) for call in calls]
    with ThreadPoolExecutor(_CALLERS) as pool:
        together = list(pool.map(lambda call: values_of(infer(server, call)), calls * 4))
    demand(together == alone * 4, "an answer differs between a call alone and the same call among others")


def outputs_among_others(server: Server) -> None:
    """infer: requested outputs hold also when calls are batched."""
    call = good_call(server)
    names = [output["name"] for output in infer(server, call)["outputs"]]
    wishes = [[{"name": names[index % len(names)]}] for index in range(_CALLERS * 2)]
    with ThreadPoolExecutor(_CALLERS) as pool:
        found = list(pool.map(lambda outputs: list(values_of(infer(server, {**call, "outputs": outputs}))), wishes))
    demand(found == [[wish[0]["name"]] for wish in wishes], "a call got outputs that another one asked for")


def flat_and_nested(server: Server) -> None:
    """Tensor data: flat and nested data of one tensor give the same answer."""
    call = good_call(server, 2)
    nested = json.loads(json.dumps(call))
    for tensor in nested["inputs"]:
        tensor["data"] = _nested(flat(tensor["data"]), tensor["shape"])
    demand(values_of(infer(server, call)) == values_of(infer(server, nested)), "the answers differ")


def _nested(values: list[Any], shape: list[int]) -> list[Any]:
    for size in reversed(shape[1:]):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return values


def wrong_tensors(server: Server) -> None:
    """Tensor data: a wrong count, ragged nests, negative dimensions and no rows are refused, and break nothing."""
    good = good_call(server)
    first = good["inputs"][0]
    others = good["inputs"][1:]
    size = math.prod(first["shape"])
    shape = [*first["shape"]]
    for tensor in (
        {**first, "data": flat(first["data"])[: size - 1]},
        {**first, "data": flat(first["data"]) + flat(first["data"])},
        {**first, "data": [flat(first["data"]), flat(first["data"])[:1]]},
        {**first, "shape": [-1, *shape[1:]]},
        {**first, "shape": [-shape[0], *shape[1:]]},
        {**first, "shape": [2**62, *shape[1:]]},
        {**first, "datatype": "FP99"},
        {key: value for key, value in first.items() if key != "data"},
    ):
        demand_refused(server.post(path(server, "/infer"), {"inputs": [tensor, *others]}))
    for tensor in (
        {**first, "shape": [0, *shape[1:]], "data": []},
        {**first, "shape": [], "data": flat(first["data"])[:1]},
    ):
        # No rows, and a scalar: either answer is allowed, breaking is not.
        server.post(path(server, "/infer"), {"inputs": [tensor, *others]})


def wrong_requests(server: Server) -> None:
    """Infer request: what is no request is refused with {"error"}."""
    for raw in (
        b"",
        b"{",
        b"[]",
        b'"inputs"',
        b'{"inputs": 5}',
        b'{"inputs": []}',
        b'{"inputs": [{}]}',
        b"\xff\xfe",
        b"[" * 9999,
    ):
        answer = server.call("POST", path(server, "/infer"), raw=raw)
        demand_refused(answer)
    said = json_of(server.call("POST", path(server, "/infer"), raw=b'{"inputs": 5}'))
    demand(isinstance(said, dict) and isinstance(said.get("error"), str), f"the body of a refusal is {str(said)[:160]}")


def unknown_input(server: Server) -> None:
    """Infer request: an input that the model has not, and one that is missing, are refused."""
    good = good_call(server)
    stranger = {**good["inputs"][0], "name": "no-such-input"}
    demand_refused(server.post(path(server, "/infer"), {"inputs": [*good["inputs"][1:], stranger]}))


# ---- values


def large_integers(server: Server) -> None:
    """Tensor data: 64-bit integers beyond 2^53 keep every bit through JSON."""
    address, field = identity_of(server, "INT64", "UINT64")
    shape = [1 if size == -1 else size for size in field["shape"]]
    values = [2**53 + 1 + index for index in range(math.prod(shape))]
    tensor = {"name": field["name"], "shape": shape, "datatype": field["datatype"], "data": values}
    answer = server.post(address, {"inputs": [tensor]})
    demand_status(answer, 200)
    demand(flat(json_of(answer)["outputs"][0]["data"]) == values, "the integers came back changed")


def truth_as_numbers(server: Server) -> None:
    """Tensor data: 0 and 1 are taken as BOOL, 2 is not."""
    address, field = identity_of(server, "BOOL")
    shape = [1 if size == -1 else size for size in field["shape"]]
    count = math.prod(shape)
    for value, status in ((1, 200), (0, 200), (2, 400)):
        tensor = {"name": field["name"], "shape": shape, "datatype": "BOOL", "data": [value] * count}
        demand_status(server.post(address, {"inputs": [tensor]}), status)


def bytes_that_are_no_text(server: Server) -> None:
    """Binary data: BYTES that are no UTF-8 come back as they went or are refused; a length past the end is refused."""
    address, field = identity_of(server, "BYTES")
    shape = [1 if size == -1 else size for size in field["shape"]]
    count = math.prod(shape)
    raw = (struct.pack("<I", 2) + b"\xff\x00") * count
    answer = _binary(server, address, field["name"], "BYTES", shape, raw, binary_out=True)
    demand(answer.status_code in (200, 400, 415), f"status {answer.status_code}")
    if answer.status_code == 200:
        demand(answer.content.endswith(raw), "the bytes came back changed")
    over = raw[:-6] + struct.pack("<I", 4_000_000) + b"ab"
    demand_refused(_binary(server, address, field["name"], "BYTES", shape, over))


def _binary(
    server: Server, address: str, name: str, datatype: str, shape: list[int], raw: bytes, *, binary_out: bool = False,
    length: str | None = "", size: int | None = None,
) -> Any:  # fmt: skip
    tensor = {"name": name, "shape": shape, "datatype": datatype,
              "parameters": {"binary_data_size": len(raw) if size is None else size}}  # fmt: skip
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": binary_out}}).encode()
    headers = {"content-type": "application/octet-stream"}
    if length is not None:
        headers["inference-header-content-length"] = length or str(len(head))
    return server.call("POST", address, raw=head + raw, headers=headers)


def _numeric_input(server: Server) -> tuple[str, dict[str, Any], bytes]:
    call = good_call(server)
    first = call["inputs"][0]
    if len(call["inputs"]) != 1 or first["datatype"] not in _SIZES or first["datatype"] == "FP16":
        raise Skipped("needs a model with one numeric input")
    form = {"BOOL": "?", "INT8": "b", "UINT8": "B", "INT16": "h", "UINT16": "H", "INT32": "i", "UINT32": "I",
            "INT64": "q", "UINT64": "Q", "FP32": "f", "FP64": "d"}[first["datatype"]]  # fmt: skip
    values = flat(first["data"])
    return path(server, "/infer"), first, struct.pack(f"<{len(values)}{form}", *values)


def binary_in(server: Server) -> None:
    """Binary data: a tensor as raw bytes gives the answer of the same tensor as JSON."""
    address, first, raw = _numeric_input(server)
    plain = values_of(infer(server, {"inputs": [first]}))
    answer = _binary(server, address, first["name"], first["datatype"], first["shape"], raw)
    demand_status(answer, 200)
    demand(values_of(json_of(answer)) == plain, "the answers differ")


def binary_out(server: Server) -> None:
    """Binary data: binary_data_output gives raw outputs behind the JSON whose length the header tells."""
    address, first, raw = _numeric_input(server)
    answer = _binary(server, address, first["name"], first["datatype"], first["shape"], raw, binary_out=True)
    demand_status(answer, 200)
    length = int(answer.headers["inference-header-content-length"])
    document = json.loads(answer.content[:length])
    sizes = [output["parameters"]["binary_data_size"] for output in document["outputs"] if "data" not in output]
    demand(sum(sizes) == len(answer.content) - length, f"the sizes {sizes} are not what follows the JSON")


def binary_data_false(server: Server) -> None:
    """Binary data: an output's binary_data false goes before binary_data_output true."""
    call = good_call(server)
    name = infer(server, call)["outputs"][0]["name"]
    found = infer(
        server,
        {
            **call,
            "parameters": {"binary_data_output": True},
            "outputs": [{"name": name, "parameters": {"binary_data": False}}],
        },
    )
    demand("data" in found["outputs"][0], "the output is raw")


def binary_lengths(server: Server) -> None:
    """Binary data: lengths that lie are refused: larger than the body, not a number, sizes that do not add up."""
    address, first, raw = _numeric_input(server)
    name, datatype, shape = first["name"], first["datatype"], first["shape"]
    for length in ("99999999", "x", "-1", "1"):
        demand_refused(_binary(server, address, name, datatype, shape, raw, length=length))
    for size in (len(raw) + 1, len(raw) - 1, 0):
        demand_refused(_binary(server, address, name, datatype, shape, raw, size=size))
    demand_refused(_binary(server, address, name, datatype, shape, raw, length=None))


# ---- HTTP


def compressed(server: Server) -> None:
    """HTTP: a gzip body is answered like the plain one, or refused with 415."""
    call = good_call(server)
    plain = values_of(infer(server, call))
    answer = server.call(
        "POST",
        path(server, "/infer"),
        raw=gzip.compress(json.dumps(call).encode()),
        headers={"content-encoding": "gzip"},
    )
    demand_status(answer, 200, 415)
    demand(answer.status_code == 415 or values_of(json_of(answer)) == plain, "the answers differ")


def methods(server: Server) -> None:
    """HTTP: another method is refused."""
    demand_refused(server.get(path(server, "/infer")))


def repository_index(server: Server) -> None:
    """Model repository: the index names each model with a state, where the extension is offered."""
    if "model_repository" not in json_of(server.get("/v2"))["extensions"]:
        raise Skipped("the server does not offer model_repository")
    answer = server.post("/v2/repository/index", {})
    demand_status(answer, 200)
    found = json_of(answer)
    demand(isinstance(found, list), "the index is a list")
    if not all({"name", "state"} <= set(one) for one in found):
        raise Failed(f"an entry has no name or state: {str(found)[:160]}")


CASES = cases_of(
    "oip",
    "Open Inference Protocol v2",
    [
        live, ready, server_metadata, model_metadata, model_ready, unknown_model, unknown_version, answer_shape,
        version_is_text, id_is_echoed, requested_outputs, unknown_output, each_its_own_rows, outputs_among_others,
        flat_and_nested, wrong_tensors, wrong_requests, unknown_input, large_integers, truth_as_numbers,
        bytes_that_are_no_text, binary_in, binary_out, binary_data_false, binary_lengths, compressed, methods,
        repository_index,
    ],
)  # fmt: skip
