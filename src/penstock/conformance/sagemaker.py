"""Amazon SageMaker's contract of inference containers."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from penstock.conformance.case import Server, Skipped, cases_of, demand, demand_refused, demand_status

PATH = "/invocations"
PING_S = 2.0
_CALLS, _CALLERS = 200, 32


def example(server: Server) -> Any:
    """The example, which this contract cannot do without: a payload is whatever the model takes."""
    if server.example is None:
        raise Skipped("needs an example")
    return server.example


def ping(server: Server) -> None:
    """GET /ping: 200 with an empty body."""
    answer = server.get("/ping")
    demand_status(answer, 200)
    demand(not answer.content.strip(), f"the body is {answer.content[:80]!r}")


def ping_under_load(server: Server) -> None:
    """GET /ping: within 2 s while /invocations is saturated."""
    body = example(server)
    with ThreadPoolExecutor(_CALLERS) as pool:
        calls = [pool.submit(server.post, PATH, body) for _ in range(_CALLS)]
        while not all(call.done() for call in calls):
            began = time.monotonic()
            demand_status(server.get("/ping"), 200)
            demand(time.monotonic() - began <= PING_S, f"it took {time.monotonic() - began:.1f} s")
        for call in calls:
            demand_status(call.result(), 200, 429)


def invocations(server: Server) -> None:
    """POST /invocations: a payload is answered, in the type that Accept asks for."""
    for accept in ("application/json", "*/*"):
        answer = server.post(PATH, example(server), headers={"accept": accept})
        demand_status(answer, 200)
        demand("content-type" in answer.headers, "the answer has no Content-Type")


def custom_attributes(server: Server) -> None:
    """POST /invocations: X-Amzn-SageMaker-Custom-Attributes is passed through."""
    answer = server.post(PATH, example(server), headers={"X-Amzn-SageMaker-Custom-Attributes": "trace=abc-123"})
    demand_status(answer, 200)
    found = answer.headers.get("x-amzn-sagemaker-custom-attributes")
    demand(found == "trace=abc-123", f"it is {found!r}")


def unknown_headers(server: Server) -> None:
    """POST /invocations: headers that mean nothing here are ignored."""
    answer = server.post(PATH, example(server), headers={"X-Amzn-SageMaker-Target-Variant": "v", "x-unknown": "1"})
    demand_status(answer, 200)


def unknown_type(server: Server) -> None:
    """POST /invocations: a type that is not taken is 415."""
    body = json.dumps(example(server)).encode()
    answer = server.call("POST", PATH, raw=body, headers={"content-type": "application/x-no-such"})
    demand_status(answer, 415)


def wrong_bodies(server: Server) -> None:
    """POST /invocations: no bytes break the server."""
    for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 9999):
        demand_refused(server.call("POST", PATH, raw=raw))


def parameters(server: Server) -> None:
    """GET /execution-parameters: numbers for batch transform, where it is there."""
    answer = server.get("/execution-parameters")
    if answer.status_code == 404:
        raise Skipped("the container does not offer it")
    demand_status(answer, 200)
    found = answer.json()
    demand(int(found["MaxConcurrentTransforms"]) > 0 and int(found["MaxPayloadInMB"]) > 0, f"it says {found}")
    demand(found["BatchStrategy"] in ("MULTI_RECORD", "SINGLE_RECORD"), f"BatchStrategy is {found['BatchStrategy']!r}")


CASES = cases_of(
    "sagemaker",
    "SageMaker, custom inference code",
    [ping, ping_under_load, invocations, custom_attributes, unknown_headers, unknown_type, wrong_bodies, parameters],
)
