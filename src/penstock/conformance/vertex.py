"""Vertex AI's contract of prediction containers."""

from __future__ import annotations

from typing import Any

from penstock.conformance.case import Server, Skipped, cases_of, demand, demand_refused, demand_status, json_of


def instances(server: Server) -> list[Any]:
    """The example's instances."""
    if isinstance(server.example, dict) and isinstance(server.example.get("instances"), list):
        rows: list[Any] = server.example["instances"]
        return rows
    raise Skipped("needs an example with instances")


def health(server: Server) -> None:
    """health: the route answers 200."""
    demand_status(server.get(server.health_route), 200)


def predictions(server: Server) -> None:
    """predict: as many predictions as instances."""
    given = instances(server)
    for rows in (given, given[:1], given * 3):
        answer = server.post(server.predict_route, {"instances": rows})
        demand_status(answer, 200)
        found = json_of(answer)["predictions"]
        demand(isinstance(found, list) and len(found) == len(rows), f"{len(rows)} instances, {str(found)[:160]}")


def parameters(server: Server) -> None:
    """predict: parameters beside the instances are taken."""
    demand_status(server.post(server.predict_route, {"instances": instances(server), "parameters": {}}), 200)


def wrong_bodies(server: Server) -> None:
    """predict: what has no instances is refused, and breaks nothing."""
    for raw in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"instances": 5}',
        b'{"instances": [{"no-such": []}]}',
        b"\xff",
        b"[" * 9999,
    ):
        demand_refused(server.call("POST", server.predict_route, raw=raw))
    demand_refused(server.get(server.predict_route))


CASES = cases_of("vertex", "Vertex AI, custom container requirements", [health, predictions, parameters, wrong_bodies])
