"""Doors of API keys and approvals."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from penstock.api.access import may
from penstock.api.answers import Body, Page, answer, decode, number_of, page
from penstock.api.deploy import Number
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.models import Cursor, Limit, Reader
from penstock.control.records import Approval, KeyRecord, NewKey
from penstock.security.identity import Identity, Role

router = APIRouter()
KeyKeeper = Annotated[Identity, Depends(may("manage-keys"))]
Approver = Annotated[Identity, Depends(may("approve", somewhere=True))]
KeyId = Annotated[str, Path(max_length=64)]


class KeyWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key to be made. `endpoints` null is all of them; `rate_per_s` is on each node."""

    subject: str
    role: Role
    endpoints: tuple[str, ...] | None = None
    expires_in_s: float | None = None
    rate_per_s: float | None = None
    reason: str = ""


class Rotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the old key is good for, beside the new one."""

    grace_s: float = 3600
    reason: str = ""


class Why(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why it was decided so; it is written into the audit log."""

    reason: str = ""


@router.get("/v1/keys", **door(Page[KeyRecord]))
def list_keys(request: Request, who: KeyKeeper, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Keys without their secrets, by id."""
    found = doors_of(request).control.keys(identity=who)
    later = sorted((key for key in found if key.id > (cursor or "")), key=lambda key: key.id)
    return answer(page(later, limit, lambda key: key.id))


@router.post("/v1/keys", **door(NewKey, status=201, body=KeyWish))
def create_key(request: Request, who: KeyKeeper, body: Body) -> Response:
    """Make a key. Its text is in this answer and nowhere else: a repeated request makes another one."""
    wish = decode(body, KeyWish)
    made = doors_of(request).control.create_key(
        wish.subject,
        wish.role,
        identity=who,
        endpoints=wish.endpoints,
        expires_in_s=wish.expires_in_s,
        rate_per_s=wish.rate_per_s,
        reason=wish.reason,
    )
    return answer(made, 201, cache_control="no-store")


@router.delete("/v1/keys/{key_id}", **door(KeyRecord))
def revoke_key(
    request: Request, who: KeyKeeper, key_id: KeyId, reason: Annotated[str, Query(max_length=4000)] = ""
) -> Response:
    """End a key now."""
    return answer(doors_of(request).control.revoke_key(key_id, identity=who, reason=reason))


@router.post("/v1/keys/{key_id}/rotate", **door(NewKey, status=201, body=Rotation))
def rotate_key(request: Request, who: KeyKeeper, key_id: KeyId, body: Body) -> Response:
    """Make a key for the same subject with the same grants; the old one ends after the grace."""
    wish = decode(body or b"{}", Rotation)
    made = doors_of(request).control.rotate_key(key_id, identity=who, grace_s=wish.grace_s, reason=wish.reason)
    return answer(made, 201, cache_control="no-store")


@router.get("/v1/approvals", **door(Page[Approval]))
def list_approvals(
    request: Request,
    who: Reader,
    state: Annotated[str, Query(pattern="^(|pending|approved|refused)$")] = "",
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """What waits for somebody, or was decided; the newest first."""
    before = number_of(cursor)
    found = doors_of(request).control.approvals(state=state)
    return answer(page([one for one in found if before is None or one.id < before], limit, lambda one: one.id))


@router.get("/v1/approvals/{number}", **door(Approval))
def read_approval(request: Request, who: Reader, number: Number) -> Response:
    """One approval."""
    return answer(doors_of(request).control.approval(number))


@router.post("/v1/approvals/{number}/approve", **door(Approval, body=Why))
def approve(request: Request, who: Approver, number: Number, body: Body) -> Response:
    """Let it happen; not by the one who asked for it, where four eyes are needed."""
    doors = doors_of(request)
    done = doors.control.approve(number, identity=who, reason=decode(body or b"{}", Why).reason)
    doors.continue_soon()
    return answer(done)


@router.post("/v1/approvals/{number}/refuse", **door(Approval, body=Why))
def refuse(request: Request, who: Approver, number: Number, body: Body) -> Response:
    """Do not let it happen."""
    return answer(doors_of(request).control.refuse(number, identity=who, reason=decode(body or b"{}", Why).reason))
