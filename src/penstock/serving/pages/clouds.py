"""Health and capacity, as MLflow, SageMaker and Vertex AI ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.core.errors import InvalidInput
from penstock.core.version import __version__
from penstock.protocols.problems import JSON
from penstock.protocols.vertex.urls import HEALTH
from penstock.serving.arms import ServedEndpoint
from penstock.serving.http.message import Reply
from penstock.serving.pages.oip import served_names
from penstock.serving.pages.repository import changing, repository_of
from penstock.serving.pages.visit import READING, Page, PageReply, Visit

_MEBIBYTE = 2**20
# SageMaker's own default; its limit for all that is on its way at once is 100 MB.
_PAYLOAD_MB = 6
_MOST_MB = 100
_TEXT = b"content-type: text/plain; charset=utf-8\r\n"
_encode = msgspec.json.Encoder().encode


def ping(visit: Visit) -> Reply:
    """Whether the node should get traffic, by the status alone: SageMaker asks for an empty body."""
    return Reply(200 if visit.node.ready() else 503, _TEXT, b"")


def health(visit: Visit) -> Reply:
    """The same with MLflow's body."""
    return Reply(200 if visit.node.ready() else 503, JSON, b"\n")


def version(visit: Visit) -> Reply:
    """Which version this is, in text as MLflow has it."""
    return Reply(200, _TEXT, __version__.encode())


def execution_parameters(visit: Visit) -> Reply:
    """How a batch transform of SageMaker should send its records."""
    endpoints = visit.node.addresses.endpoints.values()
    smallest = min([endpoint.route.limits.max_body_bytes for endpoint in endpoints], default=_PAYLOAD_MB * _MEBIBYTE)
    payload = max(1, min(_PAYLOAD_MB, smallest // _MEBIBYTE))
    document = {
        "MaxConcurrentTransforms": _MOST_MB // _PAYLOAD_MB,
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": payload,
    }
    return Reply(200, JSON, _encode(document))


class _Model(msgspec.Struct):
    model_name: str
    url: str


_decode_model = msgspec.json.Decoder(_Model).decode


def held(visit: Visit) -> PageReply:
    """The models of a SageMaker container with several; or the loading of another one, from a folder of the container.

    Source: SageMaker, "Custom Containers Contract for Multi-Model Endpoints".
    """
    if visit.request.method in READING:
        endpoints = visit.node.addresses.endpoints
        models = [_model(endpoints[name]) for name in served_names(visit) if name in endpoints]
        return Reply(200, JSON, _encode({"models": models}))
    repository = repository_of(visit)
    try:
        wish = _decode_model(visit.request.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("invalid-json", f"the body names no model to load: {str(error)[:300]}") from None
    if visit.caller is not None:
        # A key tells nothing about endpoints that it is not for, not even whether they exist.
        visit.caller.check(wish.model_name)
    folder = Path(wish.url)
    if not folder.is_absolute():
        # It would be looked for where the node happens to stand.
        raise InvalidInput("relative-model-url", "url is no absolute path", hint="SageMaker sends /opt/ml/models/...")
    return changing(repository.add_bundle(wish.model_name, folder), Reply(200, JSON, b"{}"))


def held_model(visit: Visit) -> PageReply:
    """One model of them, or its unloading."""
    if visit.request.method in READING:
        return Reply(200, JSON, _encode(_model(visit.endpoint)))
    return changing(repository_of(visit).remove(visit.name), Reply(200, JSON, b"{}"))


def _model(endpoint: ServedEndpoint) -> dict[str, str]:
    return {"modelName": endpoint.name, "modelUrl": endpoint.route.arms[0].uri}


PAGES: Mapping[str, Page] = {
    "/ping": Page(ping),
    "/health": Page(health),
    "/version": Page(version),
    "/execution-parameters": Page(execution_parameters),
    "/models": Page(held, (*READING, b"POST"), keyed=True),
}
MODEL_PAGES: Mapping[str, Page] = {
    "held": Page(held_model, (*READING, b"DELETE")),
    HEALTH: Page(ping, open=True),
}
