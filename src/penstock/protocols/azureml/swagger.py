"""The description of `/score` that Azure ML's inference server gives: Swagger 2, OpenAPI 3.0 or 3.1.

Source: microsoft/azureml-inference-server, `server/swagger.py` and `server/routes.py`.
"""

from __future__ import annotations

from typing import Any

from penstock.core.errors import NotFound
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES

Document = dict[str, Any]

_VERSIONS = {"2": "2.0", "2.0": "2.0", "3": "3.0.0", "3.0": "3.0.0", "3.1": "3.1.0"}
_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}
# How null is let through where a type is one name only.
_NULLABLE = {"2.0": "x-nullable", "3.0.0": "nullable"}
_JSON = "application/json"


def swagger(asked: str, name: str, version: str, signature: Signature) -> Document:
    """The document of the `asked` version for a model; raises NotFound for one that there is not.

    Example:
        >>> age = Field(name="age", datatype="FP64", shape=(-1,))
        >>> document = swagger("2", "churn", "7", Signature(inputs=(age,), outputs=(age,), layout="table"))
        >>> document["swagger"], document["definitions"]["ServiceOutput"]
        ('2.0', {'type': 'array', 'items': {'type': 'number'}})
    """
    said = _VERSIONS.get(asked)
    if said is None:
        raise NotFound(
            "unknown-swagger-version",
            f"there is no description in version {asked[:20]!r}",
            hint="ask for version 2, 3 or 3.1",
        )
    schemas = {
        "ServiceInput": {
            "type": "object",
            "required": ["input_data"],
            "properties": {"input_data": _input(signature, said)},
        },
        "ServiceOutput": _output(signature, said),
        "ErrorResponse": {
            "type": "object",
            "properties": {key: {"type": "string"} for key in ("error_code", "message", "code")},
        },
    }
    info = {"title": name, "description": f"The model behind {name}", "version": version}
    if said == "2.0":
        return _swagger_2(info, schemas)
    return {
        "openapi": said,
        "info": info,
        "paths": _paths(
            {"requestBody": {"required": True, "content": _content("ServiceInput")}},
            lambda schema: {"content": _content(schema)},
        ),
        "components": {"schemas": schemas, "securitySchemes": {"Bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{"Bearer": []}],
    }


def _swagger_2(info: Document, schemas: Document) -> Document:
    body = {"name": "serviceInputPayload", "in": "body", "required": True}
    reference = {"$ref": "#/definitions/ServiceInput"}
    return {
        "swagger": "2.0",
        "info": info,
        "consumes": [_JSON],
        "produces": [_JSON],
        "paths": _paths(
            {"parameters": [{**body, "schema": reference}]},
            lambda schema: {"schema": {"$ref": f"#/definitions/{schema}"}},
        ),
        "definitions": schemas,
        "securityDefinitions": {"Bearer": {"type": "apiKey", "name": "Authorization", "in": "header"}},
        "security": [{"Bearer": []}],
    }


def _paths(request: Document, answer: Any) -> Document:
    responses = {
        "200": {"description": "The model's answer", **answer("ServiceOutput")},
        "default": {"description": "What was wrong", **answer("ErrorResponse")},
    }
    health = {"operationId": "ServiceHealthCheck", "responses": {"200": {"description": "The process answers"}}}
    return {
        "/": {"get": health},
        "/score": {"post": {"operationId": "RunMLService", **request, "responses": responses}},
    }


def _content(schema: str) -> Document:
    return {_JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _input(signature: Signature, said: str) -> Document:
    """Rows as objects; a model without rows takes its inputs whole."""
    start = 1 if signature.batched else 0
    values = _named(signature.inputs, start, said)
    return {"type": "array", "items": values} if signature.batched else values


def _output(signature: Signature, said: str) -> Document:
    """What `predictions` makes of the outputs: a list by rows, or each whole; the only one without its name."""
    outputs = signature.outputs
    by_rows = signature.batched and all(field.shape[:1] == (-1,) for field in outputs)
    values = _value(outputs[0], int(by_rows), said) if len(outputs) == 1 else _named(outputs, int(by_rows), said)
    return {"type": "array", "items": values} if by_rows else values


def _named(fields: tuple[Field, ...], start: int, said: str) -> Document:
    return {
        "type": "object",
        "required": [field.name for field in fields],
        "properties": {field.name: _value(field, start, said) for field in fields},
    }


def _value(field: Field, start: int, said: str) -> Document:
    kind = _TYPES[DTYPES[field.datatype].kind]
    value: Document = {"type": kind}
    if field.nullable:
        value = {"type": [kind, "null"]} if said == "3.1.0" else {"type": kind, _NULLABLE[said]: True}
    for _ in field.shape[start:]:
        value = {"type": "array", "items": value}
    return value
