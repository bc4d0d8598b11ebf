"""The door for what became of predictions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from penstock.api.access import may
from penstock.api.answers import Body, answer, decode
from penstock.api.described import door
from penstock.api.doors import Doors, doors_of
from penstock.core.errors import Forbidden, InvalidInput, Unsupported
from penstock.predlog.outcomes import Outcome, check_outcome
from penstock.security.identity import Identity

router = APIRouter()
MOST_OUTCOMES = 10_000


class OutcomeBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outcomes by request id, at most 10 000; one for an id that nobody knows yet waits for it."""

    outcomes: list[Outcome]


class Accepted(msgspec.Struct, frozen=True):
    """How many were written down."""

    accepted: int


@router.post("/v1/outcomes", **door(Accepted, status=202, body=OutcomeBatch))
def post(request: Request, who: Annotated[Identity, Depends(may("outcomes", somewhere=True))], body: Body) -> Response:
    """Post true labels and business metrics. All of a batch are kept, or none; what was said last counts.

    A key that is confined to endpoints may post outcomes of requests that the log has for these endpoints alone.
    """
    outcomes = decode(body, OutcomeBatch).outcomes
    if len(outcomes) > MOST_OUTCOMES:
        raise InvalidInput("too-many-outcomes", f"{len(outcomes)} outcomes at once", hint=f"send {MOST_OUTCOMES}")
    for outcome in outcomes:
        check_outcome(outcome)
    keep = doors_of(request).post_outcomes
    if keep is None:
        raise Unsupported("no-outcomes", "this control keeps no prediction log", hint="start it with one")
    if who.endpoints is not None:
        _check_confined(doors_of(request), who, outcomes)
    keep(outcomes)
    return answer(Accepted(len(outcomes)), 202)


def _check_confined(doors: Doors, who: Identity, outcomes: list[Outcome]) -> None:
    # An id does not say whose request it was; the log does. Of what is not there nobody knows that it is theirs.
    found = doors.origins_of({outcome.request_id for outcome in outcomes}) if doors.origins_of is not None else {}
    for outcome in outcomes:
        endpoints = found.get(outcome.request_id, set())
        if not endpoints or not endpoints <= set(who.endpoints or ()):
            # The same for an unknown request and another one's: whose it is, is not for them to learn.
            raise Forbidden(
                "endpoint-forbidden",
                f"the log has no request {outcome.request_id[:80]!r} of the endpoints of {who.subject}",
                hint="a call is in the log a moment after its answer, unless it was sampled out",
            )
