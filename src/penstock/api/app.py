"""The application: every door, and how a failure looks whichever door it comes from."""

from __future__ import annotations

import traceback
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.api import checks, deploy, gate_files, health, keys, models, nodes, outcomes, rollouts
from penstock.api.answers import problem
from penstock.api.described import describe
from penstock.api.doors import Doors, Event
from penstock.core.clock import monotonic
from penstock.core.errors import PenstockError
from penstock.core.version import __version__
from penstock.protocols.problems import headers_of, status_of

_CODES = {404: ("not-found", "unknown-address"), 405: ("invalid", "wrong-method"), 400: ("invalid", "invalid-request")}


def build_app(doors: Doors | None) -> FastAPI:
    """The ASGI application; without `doors` it can only describe itself."""
    app = FastAPI(
        title="Penstock",
        version=__version__,
        description="The control plane: what is registered, what is served, who may, and what happened.",
        docs_url=None,  # its page loads scripts from another machine
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.doors = doors
    for part in (health, models, deploy, checks, gate_files, nodes, keys, outcomes, rollouts):
        app.include_router(part.router)
    app.add_exception_handler(PenstockError, _failed)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(HTTPException, _unroutable)
    app.add_exception_handler(Exception, _defect)
    described: list[dict[str, Any]] = []

    def openapi() -> dict[str, Any]:
        if not described:
            described.append(describe(app))
        return described[0]

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to say it oneself
    return app


async def _failed(request: Request, error: Exception) -> Response:
    if not isinstance(error, PenstockError):
        raise error
    headers = {name.replace("-", "_"): text for name, text in headers_of(error).items()}
    return problem(status_of(error), error.kind, error.code, error.message, error.hint, **headers)


async def _defect(request: Request, error: Exception) -> Response:
    """Our own: the guard around the application logs it, the client gets no trace."""
    return problem(500, "internal", "internal-error", "a defect of Penstock", "control's log has the trace")


async def _misread(request: Request, error: Exception) -> Response:
    """A parameter that is missing or of a wrong type; what was sent is not repeated."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problem(400, "invalid", "invalid-request", f"{where}: {first['msg']}", "GET /openapi.json describes it")


async def _unroutable(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kind, code = _CODES.get(error.status_code, ("invalid", "invalid-request"))
    headers = {name.replace("-", "_"): text for name, text in (error.headers or {}).items()}
    return problem(error.status_code, kind, code, str(error.detail), "GET /openapi.json lists the addresses", **headers)


class Guard:
    """The outermost layer: one log line per request, and no defect of ours ever shows its trace to a caller."""

    def __init__(self, app: ASGIApp, event: Event) -> None:
        self._app = app
        self._event = event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # our own defect; the connection's other requests go on
            trace = "".join(traceback.format_exception(error))
            self._event("internal-error", path=scope["path"][:300], error=repr(error)[:300], trace=trace[-4000:])
            if not status:
                await (await _defect(Request(scope), error))(scope, receive, watched)
        finally:
            taken_ms = round((monotonic() - began) * 1000, 1)
            self._event(
                "request", method=scope["method"], path=scope["path"][:300], status=status, duration_ms=taken_ms
            )
