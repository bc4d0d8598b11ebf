"""The description of `/score` that Azure ML's inference server gives: Swagger 2, OpenAPI 3.0 or 3.1.

Source: microsoft/azureml-inference-server, `server/swagger.py` and `server/routes.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from penstock.core.errors import NotFound
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.protocols.azureml.forms import Document, Value, all_forms, named, predictions

_VERSIONS = {"2": "2.0", "2.0": "2.0", "3": "3.0.0", "3.0": "3.0.0", "3.1": "3.1.0"}
_TYPES = {"f": "number", "i": "integer", "u": "integer", "b": "boolean", "O": "string"}
# How null is let through where a type is one name only.
_NULLABLE = {"2.0": "x-nullable", "3.0.0": "nullable"}
_JSON = "application/json"
# What else an input may be written as, by the kind of its dtype.
_OTHERS: dict[str, tuple[str, Document]] = {
    "b": ("0 and 1 are taken, too", {"type": "integer", "enum": [0, 1]}),
    "O": (
        '{"b64": "…"} is taken, too: bytes',
        {
            "type": "object",
            "required": ["b64"],
            "properties": {"b64": {"type": "string"}},
            "additionalProperties": False,
        },
    ),
}
_OTHER_FORMS = (
    "Rows as objects. Swagger 2 has no word for the other forms that are taken, too; ?version=3 describes them. "
    "input_data, or data, may be {columns, index, data}, an object of columns, or rows as lists. In place of it there "
    "may be dataframe_split, dataframe_records, instances, inputs or rows, but exactly one of all."
)
_OTHER_ANSWERS = (
    "Of input_data and data. "
    'dataframe_split, dataframe_records, instances and inputs are answered with {"predictions": …}.'
)


def swagger(asked: str, name: str, version: str, signature: Signature) -> Document:
    """The document of the `asked` version for a model; raises NotFound for one that there is not.

    Example:
        >>> age = Field(name="age", datatype="FP64", shape=(-1,))
        >>> document = swagger("2", "churn", "7", Signature(inputs=(age,), outputs=(age,), layout="table"))
        >>> document["swagger"], document["definitions"]["ServiceOutput"]["items"]
        ('2.0', {'type': 'number', 'x-nullable': True})
    """
    said = _VERSIONS.get(asked)
    if said is None:
        raise NotFound(
            "unknown-swagger-version",
            f"there is no description in version {asked[:20]!r}",
            hint="ask for version 2, 3 or 3.1",
        )
    schemas = (_one_form if said == "2.0" else all_forms)(signature, partial(_value, said=said))
    schemas["ErrorResponse"] = {
        "type": "object",
        "properties": {key: {"type": "string"} for key in ("error_code", "message", "code")},
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


def _one_form(signature: Signature, value: Value) -> Document:
    """Swagger 2 has no `oneOf`: rows as objects and the bare list, the other forms in words."""
    rows = named(signature.inputs, int(signature.batched), value, required=True)
    return {
        "ServiceInput": {
            "type": "object",
            "description": _OTHER_FORMS,
            "required": ["input_data"],
            "properties": {"input_data": {"type": "array", "items": rows} if signature.batched else rows},
        },
        "ServiceOutput": {"description": _OTHER_ANSWERS, **predictions(signature, value)},
    }


def _value(field: Field, start: int, *, given: bool, said: str) -> Document:
    """One input's value as it is taken, or an output's as it is `given`, with the dimensions from `start` on."""
    dtype = DTYPES[field.datatype]
    kind = _TYPES[dtype.kind]
    # What is not finite leaves as null.
    null = field.nullable or (given and dtype.kind == "f")
    value: Document = {"type": kind}
    if null:
        value = {"type": [kind, "null"]} if said == "3.1.0" else {"type": kind, _NULLABLE[said]: True}
    other = None if given else _OTHERS.get(dtype.kind)
    if other is not None:
        words, schema = other
        value = {**value, "description": words} if said == "2.0" else {"oneOf": [value, schema]}
    for _ in field.shape[start:]:
        value = {"type": "array", "items": value}
    return value
