"""Doors of what should be: plans, applies, what became of them, and what is."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from penstock.api.access import may
from penstock.api.answers import Body, IdempotencyKey, Page, answer, number_of, page, request_digest
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.models import Cursor, Limit, Reader, matched
from penstock.api.once import once
from penstock.api.waiting import waited
from penstock.control.reading import read_spec
from penstock.control.records import Convergence, Generation, Operation, Plan, Status
from penstock.control.spec import Spec
from penstock.core.errors import InvalidInput
from penstock.security.identity import Identity

router = APIRouter()
Operator = Annotated[Identity, Depends(may("apply", somewhere=True))]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
IfMatch = Annotated[str | None, Header(description='The generation the plan was made against, as in `"12"`.')]


@router.post("/v1/plan", **door(Plan, body=Spec))
def plan(request: Request, who: Reader, body: Body) -> Response:
    """The difference between a spec (`penstock.yaml`, as YAML or JSON) and what is; changes nothing."""
    made = doors_of(request).control.plan(read_spec(_text(body)))
    return answer(made, etag=f'"{made.generation}"')


@router.post("/v1/apply", **door(Operation, status=202, body=Spec))
def apply(
    request: Request,
    who: Operator,
    body: Body,
    reason: Annotated[str, Query(max_length=4000)] = "",
    expected_generation: Annotated[int | None, Query(ge=0, le=2**53)] = None,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make a spec so. The answer is an operation that has begun; follow it at its `location`."""
    doors = doors_of(request)
    expected = expected_generation if if_match is None else matched(if_match)
    spec = read_spec(_text(body))

    def begin() -> Operation:
        return doors.control.begin_apply(spec, identity=who, expected_generation=expected, reason=reason)

    digest = request_digest(request, hashlib.sha256(body).hexdigest())
    operation = once(doors.control, who, idempotency_key, digest, begin, Operation)
    doors.continue_soon()
    return answer(operation, 202, location=f"/v1/operations/{operation.id}")


@router.get("/v1/operations", **door(Page[Operation]))
def list_operations(request: Request, who: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Operations, the newest first."""
    found = doors_of(request).control.operations(before=number_of(cursor), limit=limit + 1)
    return answer(page(found, limit, lambda operation: operation.id))


@router.get("/v1/operations/{number}", **door(Operation))
async def read_operation(
    request: Request,
    who: Reader,
    number: Number,
    after: Annotated[int, Query(ge=-1, description="How many steps of `progress` are known already.")] = -1,
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait so long for another step or the end.")] = 0,
) -> Response:
    """One operation; with `after` and `wait_s` as soon as there is more to tell."""
    doors = doors_of(request)

    def is_news(operation: Operation) -> bool:
        return len(operation.progress) > after or operation.ended or operation.state == "waiting-approval"

    return answer(await waited(doors, lambda: doors.control.operation(number), is_news, wait_s))


@router.get("/v1/generations", **door(Page[Generation]))
def list_generations(request: Request, who: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Every state of everything, the newest first: who made it, when and why."""
    found = doors_of(request).control.generations(before=number_of(cursor), limit=limit + 1)
    return answer(page(found, limit, lambda generation: generation.generation))


@router.get("/v1/generations/{generation}/convergence", **door(Convergence))
async def convergence(
    request: Request,
    who: Reader,
    generation: Annotated[int, Path(ge=0, le=2**53)],
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait so long for every node, or a problem.")] = 0,
) -> Response:
    """Which nodes serve a generation, which do not yet, and what they could not load."""
    doors = doors_of(request)

    def ask() -> Convergence:
        return doors.control.converged(generation)

    return answer(await waited(doors, ask, lambda found: found.done or bool(found.refused), wait_s))


@router.get("/v1/spec", **door(Spec | None))
def read_applied_spec(request: Request, who: Reader) -> Response:
    """The spec that was applied last; null before the first one."""
    return answer(doors_of(request).control.spec())


@router.get("/v1/status", **door(Status))
def status(request: Request, who: Reader) -> Response:
    """What is served where, who is behind, what goes on and what waits."""
    return answer(doors_of(request).control.status())


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidInput("invalid-yaml", "the body is not UTF-8") from None
