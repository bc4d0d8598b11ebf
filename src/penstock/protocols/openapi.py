"""The OpenAPI document of a node: what `GET /openapi.json` answers, and what tests throw at it."""

from __future__ import annotations

from typing import Any

from penstock.core.version import __version__

Document = dict[str, Any]

_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_OBJECT = {"type": "object"}
_TRUTH = {"type": "boolean"}
_SHAPE = {"type": "array", "items": _NUMBER}
_TENSOR_DATA = {"$ref": "#/components/schemas/TensorData"}


def openapi() -> Document:
    """The document; names of models and versions are path parameters.

    Example:
        >>> openapi()["openapi"]
        '3.1.0'
    """
    return {
        "openapi": "3.1.0",
        "info": {"title": "Penstock node", "version": __version__},
        "paths": {path: {method: {**door, "responses": _responses(door)}} for path, method, door in _doors()},
        "components": {"schemas": _schemas()},
    }


def _doors() -> list[tuple[str, str, Document]]:
    model, version = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
    doors = [
        _page("/v2/health/live", "Live", "The process answers."),
        _page("/v2/health/ready", "Health", "Every process has loaded its routes and takes calls."),
        _page("/v2", "ServerMetadata", "Name, version and extensions."),
        _page("/v2/models", "Models", "The names of the endpoints."),
        _page("/v2/models/stats", "Statistics", "What each version did."),
        _page(f"{model}/stats", "Statistics", "What the versions of one endpoint did."),
        _call("/v2/repository/index", "IndexWish", "Index", "Every version, loaded or not."),
        _call(f"{model}/generate", "Generate", "Generated", "One row of named values."),
        _call("/predict/{model}", "Rows", "RowsAnswer", "Rows in, predictions out."),
        _call("/v1/embeddings", "Texts", "Vectors", "Texts in, vectors out."),
        _page("/v1/models", "ModelList", "The endpoints, in OpenAI's form."),
    ]
    for base in (model, version):
        doors += [
            _page(base, "ModelMetadata", "Inputs, outputs and versions."),
            _page(f"{base}/ready", "ModelReady", "Whether it can answer."),
            _call(f"{base}/infer", "InferRequest", "InferResponse", "Open Inference Protocol v2."),
        ]
    return doors


def _page(path: str, answer: str, summary: str) -> tuple[str, str, Document]:
    return path, "get", {"summary": summary, "parameters": _parameters(path), "x-answer": answer}


def _call(path: str, body: str, answer: str, summary: str) -> tuple[str, str, Document]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{body}"}}}
    request = {"required": True, "content": content}
    door = {"summary": summary, "parameters": _parameters(path), "requestBody": request, "x-answer": answer}
    return path, "post", door


def _parameters(path: str) -> list[Document]:
    names = [name for name in ("model", "version") if f"{{{name}}}" in path]
    return [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]


def _responses(door: Document) -> Document:
    def said(schema: str, description: str) -> Document:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        return {"description": description, "content": content}

    # An endpoint that is not loaded is 503, and so is one that is not ready.
    return {"200": said(door.pop("x-answer"), "the answer"), "4XX": said("Problem", "refused"),
            "503": said("Problem", "not ready")}  # fmt: skip


def _object(required: Document, optional: Document | None = None) -> Document:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": list(required)}


def _list(items: Document) -> Document:
    return {"type": "array", "items": items}


def _schemas() -> Document:
    return {**_pages(), **_calls(), **_openai()}


def _pages() -> Document:
    tensor = _object({"name": _TEXT, "datatype": _TEXT, "shape": _SHAPE}, {"parameters": _OBJECT})
    counted = _object({"count": _NUMBER, "ns": _NUMBER})
    counts = {"inference_stats": _object({"success": counted, "fail": counted, "compute_infer": counted})}
    model = {"name": _TEXT, "version": _TEXT, "inference_count": _NUMBER, "execution_count": _NUMBER}
    described = {"inputs": _list(tensor), "outputs": _list(tensor)}
    return {
        "Problem": {"anyOf": [_object({"error": {"type": ["string", "object"]}}), _object({"ready": _TRUTH})]},
        "Live": _object({"live": _TRUTH}),
        "Health": _object({"ready": _TRUTH}),
        "ServerMetadata": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
        "Models": _object({"models": _list(_TEXT)}),
        "ModelMetadata": _object(
            {"name": _TEXT, "versions": _list(_TEXT), "platform": _TEXT, **described}, {"classes": {"type": "array"}}
        ),
        "ModelReady": _object({"name": _TEXT, "ready": _TRUTH}, {"error": _TEXT}),
        "Statistics": _object({"model_stats": _list(_object({**model, **counts}))}),
        "IndexWish": _object({}, {"ready": _TRUTH}),
        "Index": _list(_object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})),
    }


def _calls() -> Document:
    parameters = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    given = {"name": _TEXT, "shape": _SHAPE, "datatype": _TEXT}
    outputs = _list(_object({**given, "data": _TENSOR_DATA}, {"parameters": parameters}))
    wanted = _list(_object({"name": _TEXT}, {"parameters": parameters}))
    return {
        "TensorData": _list({"anyOf": [_TENSOR_DATA, {"type": ["number", "string", "boolean", "null"]}]}),
        "InferRequest": _object(
            {"inputs": _list(_object(given, {"data": _TENSOR_DATA, "parameters": parameters}))},
            {"id": _TEXT, "parameters": parameters, "outputs": wanted},
        ),
        "InferResponse": _object({"model_name": _TEXT, "model_version": _TEXT, "outputs": outputs}, {"id": _TEXT}),
        "Generate": _object({}, {"id": _TEXT, "text_input": _TEXT, "parameters": _OBJECT}),
        "Generated": _object({"model_name": _TEXT, "model_version": _TEXT}, {"id": _TEXT}),
        "Rows": _object({"rows": _list(_OBJECT)}, {"id": _TEXT}),
        "RowsAnswer": _object(
            {"id": _TEXT, "endpoint": _TEXT, "version": _TEXT},
            {"predictions": {}, "probabilities": {}, "classes": {"type": "array"}, "outputs": _OBJECT},
        ),
    }


def _openai() -> Document:
    model = _object({"id": _TEXT, "object": _TEXT, "created": _NUMBER, "owned_by": _TEXT})
    embedding = _object({"object": _TEXT, "index": _NUMBER, "embedding": {"type": ["array", "string"]}})
    return {
        "Texts": _object(
            {"model": _TEXT, "input": {"anyOf": [_TEXT, _list(_TEXT)]}},
            {"encoding_format": {"enum": ["float", "base64"]}, "dimensions": _NUMBER, "user": _TEXT},
        ),
        "Vectors": _object({"object": _TEXT, "data": _list(embedding), "model": _TEXT, "usage": _OBJECT}),
        "ModelList": _object({"object": _TEXT, "data": _list(model)}),
    }
