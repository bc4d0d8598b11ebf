"""The methods of the Open Inference Protocol: each tells what its page over HTTP tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from penstock.protocols.address import ModelAddress
from penstock.protocols.messages import read
from penstock.protocols.oip import repository
from penstock.protocols.oip.grpc_form import GRPC_INFER
from penstock.protocols.oip.grpc_infer import head_of, message
from penstock.serving.grpc.methods import CallMethod, PageMethod
from penstock.serving.pages import oip
from penstock.serving.pages.repository import models_of, repository_of
from penstock.serving.pages.visit import Visit

SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"
STREAM = f"{SERVICE}ModelStreamInfer"
# Of those over HTTP, the ones that have methods or parameters here.
_EXTENSIONS = ["classification", "model_repository", "model_repository(unload_dependents)"]


def _document(reply: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(reply.body)
    return document


def _live(visit: Visit) -> bytes:
    return _bytes("ServerLiveResponse", live=True)


def _ready(visit: Visit) -> bytes:
    return _bytes("ServerReadyResponse", ready=visit.node.ready())


def _server(visit: Visit) -> bytes:
    document = _document(oip.server(visit))
    return _bytes("ServerMetadataResponse", **{**document, "extensions": _EXTENSIONS})


def _model_ready(visit: Visit) -> bytes:
    return _bytes("ModelReadyResponse", ready=oip.model_ready(visit).status == 200)


def _model(visit: Visit) -> bytes:
    document = _document(oip.model(visit))
    # The messages have no place for what the page tells beyond the protocol.
    for tensors in (document["inputs"], document["outputs"]):
        for tensor in tensors:
            tensor.pop("parameters", None)
    document.pop("classes", None)
    return _bytes("ModelMetadataResponse", **document)


def _index(visit: Visit) -> bytes:
    ready = read(message("RepositoryIndexRequest"), visit.request.body).ready
    found = [msgspec.structs.asdict(model) for model in models_of(visit) if model.state == "READY" or not ready]
    return _bytes("RepositoryIndexResponse", models=found)


async def _load(visit: Visit) -> bytes:
    given = read(message("RepositoryModelLoadRequest"), visit.request.body).parameters
    repository.check_load(msgspec.json.encode({"parameters": dict.fromkeys(given)}))
    await repository_of(visit).load(visit.name)
    return b""


async def _unload(visit: Visit) -> bytes:
    await repository_of(visit).unload(visit.name)
    return b""


def _bytes(kind: str, /, **fields: Any) -> bytes:
    return bytes(message(kind)(**fields).SerializeToString())


def _called(body: bytes) -> ModelAddress:
    name, version, _ = head_of(body)
    return ModelAddress(name or None, version or None, GRPC_INFER.name)


def _named(kind: str) -> Callable[[bytes], ModelAddress]:
    """A reader of a message's `name` and `version`."""

    def address(body: bytes) -> ModelAddress:
        request = read(message(kind), body)
        return ModelAddress(request.name or None, request.version or None, "")

    return address


def _in_repository(kind: str) -> Callable[[bytes], ModelAddress]:
    """A reader of a message's `model_name`."""
    return lambda body: ModelAddress(read(message(kind), body).model_name or None, None, "")


CALLS: Mapping[str, CallMethod] = {INFER: CallMethod(GRPC_INFER, _called)}
PAGES: Mapping[str, PageMethod] = {
    f"{SERVICE}ServerLive": PageMethod(_live, open=True),
    f"{SERVICE}ServerReady": PageMethod(_ready, open=True),
    f"{SERVICE}ServerMetadata": PageMethod(_server, open=True),
    f"{SERVICE}ModelReady": PageMethod(_model_ready, _named("ModelReadyRequest")),
    f"{SERVICE}ModelMetadata": PageMethod(_model, _named("ModelMetadataRequest")),
    f"{SERVICE}RepositoryIndex": PageMethod(_index),
    f"{SERVICE}RepositoryModelLoad": PageMethod(_load, _in_repository("RepositoryModelLoadRequest")),
    f"{SERVICE}RepositoryModelUnload": PageMethod(_unload, _in_repository("RepositoryModelUnloadRequest")),
}
