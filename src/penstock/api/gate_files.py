"""Doors for what gates need besides the model: rows and checks, by their digest."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Request, Response

from penstock.api.access import may
from penstock.api.answers import answer
from penstock.api.described import door
from penstock.api.doors import doors_of
from penstock.api.upload import Upload, receive
from penstock.security.identity import Identity

router = APIRouter()
Checker = Annotated[Identity, Depends(may("check"))]
Digest = Annotated[str, Path(max_length=80, description="`sha256:` and 64 hex digits.")]


class GateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that gates may use, and whether control has it."""

    digest: str
    kept: bool


@router.get("/v1/gate-files/{digest}", **door(GateFile))
def look(request: Request, who: Checker, digest: Digest) -> Response:
    """Whether control has this file; then it need not be sent."""
    return answer(GateFile(digest=digest, kept=doors_of(request).control.has_gate_file(digest)))


@router.put("/v1/gate-files/{digest}", **door(GateFile, status=201, media="application/octet-stream"))
def keep(request: Request, who: Checker, digest: Digest, upload: Annotated[Upload, Depends(receive)]) -> Response:
    """Keep a file for gates, at most 1 GiB: held-out rows, or checks. A spec names it `sha256:HEX/NAME`."""
    doors_of(request).control.keep_gate_file(upload.path, digest, identity=who)
    return answer(GateFile(digest=digest, kept=True), 201)
