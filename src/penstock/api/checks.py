"""Doors of gates that somebody asks for, and of what they found."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from penstock.api.access import may
from penstock.api.answers import Body, IdempotencyKey, answer, decode, request_digest
from penstock.api.deploy import Number
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.models import Reader
from penstock.api.once import once
from penstock.control.checking import CheckWish
from penstock.control.records import Operation
from penstock.core.digest import digest_of
from penstock.core.names import VersionRef
from penstock.core.verdicts import Report
from penstock.gates.plan import read_plan
from penstock.security.identity import Identity

router = APIRouter()


@router.post("/v1/checks", **door(Operation, status=202, body=CheckWish))
def check(
    request: Request,
    who: Annotated[Identity, Depends(may("check", somewhere=True))],
    body: Body,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Judge a registered version on control's machine. The answer is an operation that has begun, as for an apply."""
    doors, wish = doors_of(request), decode(body, CheckWish)
    # Through the reader, which knows what the fields mean together.
    wish = msgspec.structs.replace(wish, gates=read_plan(msgspec.to_builtins(wish.gates), "gates"))

    def begin() -> Operation:
        return doors.control.begin_check(wish, identity=who)

    operation = once(doors.control, who, idempotency_key, request_digest(request, digest_of(body)), begin, Operation)
    doors.continue_soon()
    return answer(operation, 202, location=f"/v1/operations/{operation.id}")


@router.get("/v1/operations/{number}/report", **door(Report))
def read_report(request: Request, who: Reader, number: Number) -> Response:
    """What the gates of a check found; there is one as soon as its operation is done."""
    return answer(doors_of(request).control.report(number))


@router.get("/v1/models/{model}/versions/{number}/reports", **door(list[Report]))
def list_reports(request: Request, who: Reader, model: str, number: Number) -> Response:
    """What gates found about a version, the newest first: one report for each endpoint, champion and set of gates."""
    control = doors_of(request).control
    return answer(control.reports(control.registry(who).get(VersionRef(model, number)).ref))
