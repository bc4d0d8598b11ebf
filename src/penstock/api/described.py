"""What the OpenAPI document says of each door, from the types that are really read and sent."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_REF = "#/components/schemas/{name}"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A failure (RFC 9457). `code` is one of docs/reference/errors.md and never changes its meaning."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""


def door(result: Any, *, status: int = 200, body: Any = None, media: str = "application/json") -> dict[str, Any]:
    """The keyword arguments of a route that answers with `result` and takes `body`, or bytes of `media`."""
    said: dict[str, Any] = {
        "status_code": status,
        "responses": {
            status: {
                "description": "What was asked for.",
                "content": {"application/json": {"schema": _schema(result)}},
            },
            "default": {
                "description": "A failure.",
                "content": {"application/problem+json": {"schema": _schema(Problem)}},
            },
        },
    }
    if body is not None or media != "application/json":
        schema = _schema(body) if body is not None else {"type": "string", "format": "binary"}
        said["openapi_extra"] = {"requestBody": {"required": True, "content": {media: {"schema": schema}}}}
    return said


def _schema(kind: Any) -> dict[str, Any]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template=_REF)
    return {**schema, "x-components": components} if components else dict(schema)


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app whose routes were made with `door`."""
    whole = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components: dict[str, Any] = {}
    _collect(whole, components)
    whole.setdefault("components", {})["schemas"] = dict(sorted(components.items()))
    whole["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, doors in whole["paths"].items():
        for said in doors.values():
            # FastAPI's own answer to a wrong parameter is not ours.
            said.get("responses", {}).pop("422", None)
            said["security"] = [] if path.startswith("/v1/health/") else [{"key": []}]
    return whole


def _collect(node: Any, components: dict[str, Any]) -> None:
    """Move the types that schemas brought along to the one place where references look for them."""
    if isinstance(node, dict):
        components.update(node.pop("x-components", {}))
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _collect(inner, components)
