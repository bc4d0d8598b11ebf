"""TensorFlow Serving's REST API."""

from __future__ import annotations

from typing import Any

from penstock.conformance.case import Server, Skipped, cases_of, demand, demand_refused, demand_status, json_of
from penstock.conformance.oip_calls import model_of


def path(server: Server, what: str = "") -> str:
    """The model's address, or what follows it."""
    return f"/v1/models/{model_of(server)}{what}"


def instances(server: Server) -> list[Any]:
    """Rows that the model should answer: the example's, or made from the signature."""
    if isinstance(server.example, dict) and "instances" in server.example:
        rows: list[Any] = server.example["instances"]
        return rows
    answer = server.get(path(server, "/metadata"))
    if answer.status_code != 200:
        raise Skipped("needs an example: the server tells nothing of its model")
    signature = json_of(answer)["metadata"]["signature_def"]["signature_def"]["serving_default"]
    row = {name: _value(tensor) for name, tensor in signature["inputs"].items()}
    return [next(iter(row.values())) if len(row) == 1 else row] * 2


def _value(tensor: dict[str, Any]) -> Any:
    value: Any = "text" if tensor["dtype"] == "DT_STRING" else True if tensor["dtype"] == "DT_BOOL" else 1
    if "FLOAT" in tensor["dtype"] or "DOUBLE" in tensor["dtype"]:
        value = 1.5
    for size in reversed([int(one["size"]) for one in tensor["tensor_shape"]["dim"]][1:]):
        value = [value] * (1 if size == -1 else size)
    return value


def status(server: Server) -> None:
    """Model status: the versions and their states, AVAILABLE where served."""
    answer = server.get(path(server))
    demand_status(answer, 200)
    versions = json_of(answer)["model_version_status"]
    demand(any(one["state"] == "AVAILABLE" for one in versions), f"no version is AVAILABLE: {versions}")
    demand(all({"version", "state", "status"} <= set(one) for one in versions), f"an entry is {versions[0]}")


def version_status(server: Server) -> None:
    """Model status: one version by its number, and 404 for one that is not there."""
    version = json_of(server.get(path(server)))["model_version_status"][0]["version"]
    found = json_of(server.get(path(server, f"/versions/{version}")))["model_version_status"]
    demand([one["version"] for one in found] == [version], f"asked for {version}, got {found}")
    demand_status(server.get(path(server, "/versions/987654321")), 404)


def unknown_label(server: Server) -> None:
    """labels: one that is not set is 404."""
    demand_status(server.get(path(server, "/labels/no-such-label")), 404)
    answer = server.post(path(server, "/labels/no-such-label:predict"), {"instances": instances(server)})
    demand_refused(answer)


def metadata(server: Server) -> None:
    """Model metadata: model_spec and signature_def."""
    answer = server.get(path(server, "/metadata"))
    demand_status(answer, 200)
    found = json_of(answer)
    demand(found["model_spec"]["name"] == model_of(server), f"the name is {found['model_spec']}")
    demand("signature_def" in found["metadata"], "there is no signature_def")


def unknown_model(server: Server) -> None:
    """errors: an unknown model is 404 with {"error"}."""
    for answer in (
        server.get("/v1/models/no-such-model"),
        server.post("/v1/models/no-such-model:predict", {"instances": [1]}),
    ):
        demand_status(answer, 404)
        demand(isinstance(json_of(answer)["error"], str), "error is text")


def rows(server: Server) -> None:
    """predict, row form: as many predictions as instances, each alone the same."""
    given = instances(server)
    answer = server.post(path(server, ":predict"), {"instances": given})
    demand_status(answer, 200)
    found = json_of(answer)["predictions"]
    demand(len(found) == len(given), f"{len(given)} instances, {len(found)} predictions")
    for row, prediction in zip(given, found, strict=True):
        alone = json_of(server.post(path(server, ":predict"), {"instances": [row]}))["predictions"]
        demand(alone == [prediction], "a row alone is answered otherwise than among others")


def columns(server: Server) -> None:
    """predict, column form: outputs hold the values of the row form's predictions."""
    given = instances(server)
    inputs: Any = given
    if isinstance(given[0], dict):
        inputs = {name: [row[name] for row in given] for name in given[0]}
    answer = server.post(path(server, ":predict"), {"inputs": inputs})
    demand_status(answer, 200)
    outputs = json_of(answer)["outputs"]
    predictions = json_of(server.post(path(server, ":predict"), {"instances": given}))["predictions"]
    if isinstance(outputs, dict):
        for name, values in outputs.items():
            demand(values == [one[name] for one in predictions], f"{name} differs between the forms")
    else:
        demand(outputs == predictions, "the forms differ")


def both_forms(server: Server) -> None:
    """predict: instances and inputs at once, and neither, are 400."""
    given = instances(server)
    demand_status(server.post(path(server, ":predict"), {"instances": given, "inputs": given}), 400)
    demand_status(server.post(path(server, ":predict"), {}), 400)


def unequal_rows(server: Server) -> None:
    """predict, column form: inputs of several lengths are 400."""
    given = instances(server)
    if not isinstance(given[0], dict) or len(given[0]) < 2:
        raise Skipped("needs a model of several inputs")
    inputs = {name: [row[name] for row in given] for name in given[0]}
    inputs[next(iter(inputs))] = inputs[next(iter(inputs))][:-1]
    demand_status(server.post(path(server, ":predict"), {"inputs": inputs}), 400)


def unknown_signature(server: Server) -> None:
    """predict: a signature that the model has not is refused."""
    demand_refused(server.post(path(server, ":predict"), {"signature_name": "no-such", "instances": instances(server)}))


def wrong_bodies(server: Server) -> None:
    """errors: what is no request is 400 with {"error"}."""
    for raw in (
        b"",
        b"{",
        b"[]",
        b'{"instances": 5}',
        b'{"instances": []}',
        b'{"instances": [{"no-such": 1}]}',
        b"[" * 9999,
    ):
        answer = server.call("POST", path(server, ":predict"), raw=raw)
        demand_refused(answer)
        demand(isinstance(json_of(answer)["error"], str), "error is text")


def base64_values(server: Server) -> None:
    """predict: {"b64": …} is bytes."""
    given = instances(server)
    if given[0] != "text":
        raise Skipped("needs a model of one text input")
    plain = json_of(server.post(path(server, ":predict"), {"instances": ["text"]}))
    coded = json_of(server.post(path(server, ":predict"), {"instances": [{"b64": "dGV4dA=="}]}))
    demand(plain == coded, "the answers differ")


CASES = cases_of(
    "tfserving",
    "TensorFlow Serving, RESTful API",
    [
        status, version_status, unknown_label, metadata, unknown_model, rows, columns, both_forms, unequal_rows,
        unknown_signature, wrong_bodies, base64_values,
    ],
)  # fmt: skip
