"""Azure Machine Learning's contract of online endpoints."""

from __future__ import annotations

from typing import Any

from penstock.conformance.case import Server, Skipped, cases_of, demand, demand_refused, demand_status, json_of

PATH = "/score"


def example(server: Server) -> Any:
    """The example, which this contract cannot do without."""
    if server.example is None:
        raise Skipped("needs an example")
    return server.example


def liveness(server: Server) -> None:
    """Liveness route: GET / answers 200."""
    demand_status(server.get("/"), 200)


def score(server: Server) -> None:
    """Scoring route: POST /score answers JSON."""
    answer = server.post(PATH, example(server))
    demand_status(answer, 200)
    json_of(answer)


def request_id(server: Server) -> None:
    """Scoring route: x-ms-client-request-id comes back."""
    answer = server.post(PATH, example(server), headers={"x-ms-client-request-id": "abc-123"})
    demand_status(answer, 200)
    found = answer.headers.get("x-ms-client-request-id")
    demand(found == "abc-123", f"it is {found!r}")


def wrong_bodies(server: Server) -> None:
    """Scoring route: no bytes break the server."""
    for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 9999):
        demand_refused(server.call("POST", PATH, raw=raw))


CASES = cases_of("azure", "Azure ML, online endpoints", [liveness, score, request_id, wrong_bodies])
