"""What every door has in common: how a body is read, how a value is sent, how a long list is cut into pages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Header, Request, Response
from fastapi.responses import JSONResponse

from penstock.core.errors import InvalidInput, TooLarge

MOST_BODY_BYTES = 4 * 2**20
Item = TypeVar("Item")
Value = TypeVar("Value")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A part of a list. `next` is the cursor of the rest, None at the end."""

    items: list[Item]
    next: str | None


def answer(value: Any, status: int = 200, **headers: str) -> Response:
    """A value as JSON."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Response(msgspec.json.encode(value), status, named, "application/json")


async def read_body(request: Request) -> bytes:
    """The whole body; raises TooLarge (`body-too-large`) before more than 4 MiB are in memory."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MOST_BODY_BYTES:
            raise TooLarge(
                "body-too-large", f"the body is longer than {MOST_BODY_BYTES} bytes", hint="send less at once"
            )
    return bytes(data)


Body = Annotated[bytes, Depends(read_body)]
IdempotencyKey = Annotated[str | None, Header(max_length=200, description="Repeats are answered as the first one was.")]


def decode(data: bytes, kind: type[Value]) -> Value:
    """The body as a value; raises InvalidInput (`invalid-request`) that names the field at fault.

    Example:
        >>> decode(b'{"role": 1}', dict[str, str])
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: the body: Expected `str`, got `int` - at `$[...]`; ... [invalid-request]
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-request", f"the body: {error}", hint="GET /openapi.json describes it") from None


def page(items: Sequence[Item], limit: int, cursor_of: Callable[[Item], object]) -> Page[Item]:
    """A page of at most `limit`, when `items` has one more than that if there are more.

    Example:
        >>> page([5, 4, 3], 2, str), page([5], 2, str)
        (Page(items=[5, 4], next='4'), Page(items=[5], next=None))
    """
    shown = list(items[:limit])
    return Page(shown, str(cursor_of(shown[-1])) if len(items) > limit else None)


def number_of(cursor: str | None) -> int | None:
    """The number in a cursor; raises InvalidInput (`invalid-cursor`)."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise InvalidInput("invalid-cursor", f"{cursor[:40]!r} is no cursor", hint="send back what `next` was")
    return int(cursor)


def request_digest(request: Request, body_digest: str) -> str:
    """What makes two requests the same one, for idempotency keys."""
    said = f"{request.method} {request.url.path}?{request.url.query}\n{body_digest}"
    return hashlib.sha256(said.encode()).hexdigest()


def problem(status: int, kind: str, code: str, detail: str, hint: str = "", **headers: str) -> JSONResponse:
    """A failure as RFC 9457 says; `code` is stable, `detail` and `hint` are for people."""
    body = {"type": f"urn:penstock:{code}", "title": kind, "status": status, "detail": detail, "code": code}
    if hint:
        body["hint"] = hint
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return JSONResponse(body, status, named, "application/problem+json")
