"""Doors for balancers and people who look whether control is there; they need no key."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from penstock.api.answers import answer
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.core.errors import Unavailable
from penstock.core.version import __version__

router = APIRouter()


class Health(msgspec.Struct, frozen=True):
    """That it is there, and which release it is."""

    status: str
    version: str


@router.get("/v1/health/live", **door(Health))
async def live() -> Response:
    """The process answers."""
    return answer(Health("live", __version__))


@router.get("/v1/health/ready", **door(Health))
def ready(request: Request) -> Response:
    """The database answers, too."""
    doors = doors_of(request)
    if doors.stopping.is_set():
        raise Unavailable("control-stopping", "control is stopping", hint="ask another one")
    doors.control.generation()
    return answer(Health("ready", __version__))
