"""Doors of the registry: models, versions, aliases, the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from penstock.api.access import may
from penstock.api.answers import Body, IdempotencyKey, Page, answer, decode, number_of, page, request_digest
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.once import once
from penstock.api.upload import Upload, receive
from penstock.control.records import Approval
from penstock.core.errors import InvalidInput
from penstock.core.names import VersionRef
from penstock.registry.records import Event, Model, Verification, Version
from penstock.security.identity import Identity

router = APIRouter()
Reader = Annotated[Identity, Depends(may("read"))]
Registrar = Annotated[Identity, Depends(may("register"))]
Auditor = Annotated[Identity, Depends(may("audit"))]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many items.")]
Cursor = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]
# What a database holds as a whole number.
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]


class AliasWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an alias shall point; `expected` is where it must point now: a number, or `absent`."""

    version: int
    expected: int | Literal["absent"] | None = None
    reason: str = ""


class VersionChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What changes of a version: tags (null takes one away), metrics to add, whether it is retired."""

    tags: dict[str, str | None] = {}
    metrics: dict[str, float] = {}
    retired: bool | None = None
    reason: str = ""


class Aliases(msgspec.Struct, frozen=True):
    """Alias to version number."""

    aliases: dict[str, int]


class AliasMoved(msgspec.Struct, frozen=True, kw_only=True):
    """Where the alias points. With `approval` it does not yet: somebody has to approve."""

    model: str
    alias: str
    version: int
    approval: Approval | None = None


@router.get("/v1/models", **door(Page[Model]))
def list_models(request: Request, who: Reader, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Models in the order of their names."""
    models = [model for model in doors_of(request).control.registry(who).models() if model.name > (cursor or "")]
    return answer(page(models, limit, lambda model: model.name))


@router.get("/v1/models/{model}/versions", **door(Page[Version]))
def list_versions(request: Request, who: Reader, model: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """Versions of a model, the newest first."""
    before = number_of(cursor)
    found = doors_of(request).control.registry(who).versions(model)
    versions = [version for version in found if before is None or version.number < before]
    return answer(page(versions, limit, lambda version: version.number))


@router.post("/v1/models/{model}/versions", **door(Version, status=201, media="application/octet-stream"))
def register(
    request: Request,
    who: Registrar,
    model: str,
    upload: Annotated[Upload, Depends(receive)],
    alias: str = "",
    reason: str = "",
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Register a bundle: the body is the `.penstock` file. A bundle that is registered already keeps its number."""
    control = doors_of(request).control
    digest = request_digest(request, upload.digest)

    def make() -> Version:
        return control.registry(who).register(upload.path, name=model, alias="", reason=reason)

    version = once(control, who, idempotency_key, digest, make, Version)
    if alias:
        # Through control, where an alias may be protected.
        control.set_alias(model, alias, version.number, identity=who, reason=reason)
        version = control.registry(who).get(VersionRef(model, version.number))
    return answer(version, 201, location=f"/v1/models/{model}/versions/{version.number}")


@router.get("/v1/models/{model}/versions/{number}", **door(Version))
def read_version(request: Request, who: Reader, model: str, number: Number) -> Response:
    """One version."""
    return answer(doors_of(request).control.registry(who).get(VersionRef(model, number)))


@router.patch("/v1/models/{model}/versions/{number}", **door(Version, body=VersionChange))
def change_version(request: Request, who: Registrar, model: str, number: Number, body: Body) -> Response:
    """Change tags, metrics and retirement of a version."""
    wish = decode(body, VersionChange)
    registry = doors_of(request).control.registry(who)
    version = registry.set_entries(VersionRef(model, number), tags=wish.tags, metrics=wish.metrics, reason=wish.reason)
    if wish.retired is not None and wish.retired != version.retired:
        version = registry.retire(VersionRef(model, number), retired=wish.retired, reason=wish.reason)
    return answer(version)


@router.get("/v1/versions", **door(Version))
def resolve(request: Request, who: Reader, ref: Annotated[str, Query(max_length=300)]) -> Response:
    """The version that `churn`, `churn/7` or `churn@champion` means now."""
    return answer(doors_of(request).control.registry(who).resolve(ref))


@router.get("/v1/models/{model}/aliases", **door(Aliases))
def list_aliases(request: Request, who: Reader, model: str) -> Response:
    """A model's aliases."""
    return answer(Aliases(doors_of(request).control.registry(who).aliases(model)))


@router.put("/v1/models/{model}/aliases/{alias}", **door(AliasMoved, body=AliasWish))
def set_alias(
    request: Request,
    who: Registrar,
    model: str,
    alias: str,
    body: Body,
    if_match: Annotated[str | None, Header(description='The version it must point at now, as in `"7"`.')] = None,
) -> Response:
    """Point an alias at a version; where it is protected, this asks for an approval (status 202)."""
    wish = decode(body, AliasWish)
    expected = wish.expected if if_match is None else matched(if_match)
    waits = doors_of(request).control.set_alias(
        model, alias, wish.version, identity=who, expected=expected, reason=wish.reason
    )
    moved = AliasMoved(model=model, alias=alias, version=wish.version, approval=waits)
    return answer(moved, 202 if waits is not None else 200, etag=f'"{wish.version}"')


@router.get("/v1/audit", **door(Page[Event]))
def audit(request: Request, who: Auditor, limit: Limit = 100, cursor: Cursor = None) -> Response:
    """The audit log, oldest first."""
    found = doors_of(request).control.registry(who).events(after=number_of(cursor) or 0, limit=limit + 1)
    return answer(page(found, limit, lambda event: event.seq))


@router.get("/v1/audit/verification", **door(Verification))
def verify_audit(request: Request, who: Auditor, head: Annotated[str, Query(max_length=80)] = "") -> Response:
    """Walk the audit log's chain and hold it against the tables; `head` is a hash noted down earlier."""
    return answer(doors_of(request).control.verify_audit(head))


def matched(if_match: str) -> int:
    """The number in an If-Match header; raises InvalidInput (`invalid-if-match`).

    Example:
        >>> matched('"12"')
        12
    """
    number = if_match.strip().removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise InvalidInput("invalid-if-match", f"If-Match {if_match[:40]!r} is no number", hint='as in If-Match: "12"')
    return int(number)
