"""Doors of rollouts, releases and the way back."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from penstock.api.answers import Body, IdempotencyKey, Page, answer, decode, number_of, page, request_digest
from penstock.api.deploy import Number, Operator
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.models import Cursor, Limit, Reader
from penstock.api.once import once
from penstock.api.waiting import waited
from penstock.control.deploy import Start
from penstock.control.records import Operation, Release, RolloutEvent, RolloutRecord
from penstock.rollout.decide import Command
from penstock.rollout.judgement import RolloutReport

router = APIRouter()
Name = Annotated[str, Path(max_length=200)]
Reason = Annotated[str, Query(max_length=4000)]


@router.get("/v1/rollouts", **door(Page[RolloutRecord]))
def list_rollouts(
    request: Request,
    who: Reader,
    endpoint: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """Rollouts, the newest first, of all endpoints or one."""
    before = number_of(cursor)
    found = doors_of(request).control.rollouts.page(endpoint=endpoint, before=before, limit=limit + 1)
    return answer(page(found, limit, lambda record: record.id))


@router.get("/v1/rollouts/{number}", **door(RolloutRecord))
async def read_rollout(
    request: Request,
    who: Reader,
    number: Number,
    after: Annotated[int, Query(ge=-1, le=2**53, description="Which `revision` is known already.")] = -1,
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait so long for another step or the end.")] = 0,
) -> Response:
    """One rollout; with `after` and `wait_s` as soon as there is more to tell."""
    doors = doors_of(request)

    def ask() -> RolloutRecord:
        return doors.control.rollouts.read(number)

    return answer(await waited(doors, ask, lambda found: found.revision > after or found.ended, wait_s))


@router.get("/v1/rollouts/{number}/events", **door(list[RolloutEvent]))
def list_events(request: Request, who: Reader, number: Number) -> Response:
    """What a rollout did, when and why, with what was known then."""
    return answer(doors_of(request).control.rollouts.events(number))


@router.get("/v1/rollouts/{number}/report", **door(RolloutReport))
def read_report(request: Request, who: Operator, number: Number) -> Response:
    """What the prediction log shows of a rollout: facts by step and arm, how each verdict came about, disagreement."""
    return answer(doors_of(request).control.rollouts.report(number, identity=who))


@router.post("/v1/rollouts/{number}/{command}", **door(RolloutRecord))
def command_rollout(
    request: Request, who: Operator, number: Number, command: Annotated[Command, Path()], reason: Reason = ""
) -> Response:
    """Pause it, resume it, promote it or abort it. Repeated, it is refused: the state is another one then."""
    return answer(doors_of(request).control.rollouts.command(number, command, identity=who, reason=reason))


@router.post("/v1/endpoints/{endpoint}/rollout", **door(Operation, status=202, body=Start))
def start(
    request: Request, who: Operator, endpoint: Name, body: Body, idempotency_key: IdempotencyKey = None
) -> Response:
    """Let another version take over by a rollout. The answer is the operation that runs its gates and begins it."""
    doors = doors_of(request)
    wish = decode(body, Start)

    def begin() -> Operation:
        return doors.control.rollouts.start(endpoint, wish, identity=who)

    digest = request_digest(request, hashlib.sha256(body).hexdigest())
    operation = once(doors.control, who, idempotency_key, digest, begin, Operation)
    doors.continue_soon()
    return answer(operation, 202, location=f"/v1/operations/{operation.id}")


@router.post("/v1/endpoints/{endpoint}/retry", **door(RolloutRecord))
def retry(
    request: Request, who: Operator, endpoint: Name, reason: Reason = "", idempotency_key: IdempotencyKey = None
) -> Response:
    """Begin the rollout again that went back."""
    control = doors_of(request).control

    def make() -> RolloutRecord:
        return control.rollouts.retry(endpoint, identity=who, reason=reason)

    return answer(once(control, who, idempotency_key, _digest(request), make, RolloutRecord))


@router.post("/v1/endpoints/{endpoint}/rollback", **door(RolloutRecord))
def rollback(
    request: Request,
    who: Operator,
    endpoint: Name,
    to: Annotated[int | None, Query(ge=1, le=2**53, description="The generation of the release to go to.")] = None,
    reason: Reason = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Serve what was served before, at once: version, routes, settings, gates and aliases."""
    control = doors_of(request).control

    def make() -> RolloutRecord:
        return control.rollouts.rollback(endpoint, identity=who, to=to, reason=reason)

    return answer(once(control, who, idempotency_key, _digest(request), make, RolloutRecord))


@router.get("/v1/endpoints/{endpoint}/releases", **door(list[Release]))
def list_releases(request: Request, who: Reader, endpoint: Name) -> Response:
    """What an endpoint was, the newest first."""
    return answer(doors_of(request).control.rollouts.releases(endpoint))


def _digest(request: Request) -> str:
    return request_digest(request, hashlib.sha256(b"").hexdigest())
