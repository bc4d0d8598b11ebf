"""MLflow's scoring server."""

from __future__ import annotations

import json
from typing import Any

from penstock.conformance.case import Server, Skipped, cases_of, demand, demand_refused, demand_status, json_of

PATH = "/invocations"


def records(server: Server) -> list[dict[str, Any]]:
    """Rows that the model should answer, from the example in any of the forms."""
    example = server.example
    if isinstance(example, dict) and "dataframe_records" in example:
        rows: list[dict[str, Any]] = example["dataframe_records"]
        return rows
    if isinstance(example, dict) and "dataframe_split" in example:
        split = example["dataframe_split"]
        return [dict(zip(split["columns"], row, strict=True)) for row in split["data"]]
    raise Skipped("needs an example with dataframe_split or dataframe_records")


def split_of(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same rows as a split frame."""
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}


def predictions(server: Server, body: Any, **more: Any) -> Any:
    """The predictions of a call that must be answered."""
    answer = server.post(PATH, body, **more)
    demand_status(answer, 200)
    return json_of(answer)["predictions"]


def ping(server: Server) -> None:
    """health: GET /ping and /health answer 200."""
    for address in ("/ping", "/health"):
        demand_status(server.get(address), 200)


def version(server: Server) -> None:
    """version: GET /version answers text."""
    answer = server.get("/version")
    demand_status(answer, 200)
    demand(bool(answer.text.strip()), "it is empty")


def frames(server: Server) -> None:
    """inputs: dataframe_split and dataframe_records give the same predictions, one a row."""
    rows = records(server)
    found = predictions(server, {"dataframe_records": rows})
    demand(len(found) == len(rows), f"{len(rows)} rows, {len(found)} predictions")
    demand(predictions(server, {"dataframe_split": split_of(rows)}) == found, "the forms differ")


def column_order(server: Server) -> None:
    """inputs: columns in another order give the same predictions."""
    rows = records(server)
    turned = [dict(reversed(row.items())) for row in rows]
    demand(
        predictions(server, {"dataframe_split": split_of(turned)}) == predictions(server, {"dataframe_records": rows}),
        "the order of columns matters",
    )


def tensors(server: Server) -> None:
    """inputs: instances (rows) and inputs (columns) give the same predictions."""
    rows = records(server)
    found = predictions(server, {"dataframe_records": rows})
    demand(predictions(server, {"instances": rows}) == found, "instances differ")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    demand(predictions(server, {"inputs": columns}) == found, "inputs differ")


def csv(server: Server) -> None:
    """inputs: text/csv gives the same predictions."""
    rows = records(server)
    lines = [list(rows[0]), *[list(row.values()) for row in rows]]
    if any(isinstance(value, str) and ("," in value or '"' in value) for line in lines for value in line):
        raise Skipped("the example's texts would need quoting")
    body = "\n".join(",".join("" if value is None else str(value) for value in line) for line in lines) + "\n"
    for kind in ("text/csv", "text/csv; charset=utf-8"):
        answer = server.call("POST", PATH, raw=body.encode(), headers={"content-type": kind})
        demand_status(answer, 200)
        demand(json_of(answer)["predictions"] == predictions(server, {"dataframe_records": rows}), "the forms differ")


def params(server: Server) -> None:
    """inputs: params beside the data are taken."""
    rows = records(server)
    answer = server.post(PATH, {"dataframe_records": rows, "params": {}})
    demand_status(answer, 200)


def charset(server: Server) -> None:
    """Content type: another charset than utf-8, and an unknown type, are 415."""
    body = json.dumps({"dataframe_records": records(server)}).encode()
    for kind in ("application/json; charset=latin-1", "application/xml", "text/plain"):
        demand_status(server.call("POST", PATH, raw=body, headers={"content-type": kind}), 415)


def not_one_form(server: Server) -> None:
    """inputs: a bare list, no form and two forms are 400."""
    rows = records(server)
    for body in (rows, {}, {"rows-are-here": rows}, {"dataframe_records": rows, "instances": rows}):
        demand_status(server.post(PATH, body), 400)


def schema(server: Server) -> None:
    """schema: a missing column and a value of another type are 400, not 500."""
    rows = records(server)
    first = next(iter(rows[0]))
    without = [{name: value for name, value in row.items() if name != first} for row in rows]
    demand_refused(server.post(PATH, {"dataframe_records": without}))
    demand_refused(server.post(PATH, {"dataframe_records": [{**row, first: {"a": [1]}} for row in rows]}))


def errors(server: Server) -> None:
    """errors: {"error_code", "message"}."""
    answer = server.call("POST", PATH, raw=b"{")
    demand_status(answer, 400)
    found = json_of(answer)
    demand(
        isinstance(found["error_code"], str) and isinstance(found["message"], str), f"the body is {str(found)[:160]}"
    )


def wrong_bodies(server: Server) -> None:
    """errors: no bytes break the server."""
    for raw in (
        b"", b"null", b"5", b'"x"', b'{"dataframe_split": 5}', b'{"dataframe_split": {}}',
        b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', b'{"dataframe_records": [1]}',
        b'{"instances": null}',
        b"\xff\xfe", b"[" * 9999,
    ):  # fmt: skip
        demand_refused(server.call("POST", PATH, raw=raw))
    for raw in (b"", b'"a', b"a,b\n1\n", b"\xff"):
        demand_refused(server.call("POST", PATH, raw=raw, headers={"content-type": "text/csv"}))


CASES = cases_of(
    "mlflow",
    "MLflow, scoring server",
    [ping, version, frames, column_order, tensors, csv, params, charset, not_one_form, schema, errors, wrong_bodies],
)
