"""Status and metadata, as TensorFlow Serving has them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.core.errors import NotFound, PenstockError, Unavailable
from penstock.core.routes import arm_of_version, version_of_label
from penstock.protocols.kserve import readiness
from penstock.protocols.openai.models import model_object
from penstock.protocols.problems import JSON
from penstock.protocols.tfserving import documents
from penstock.protocols.tfserving.documents import VersionState
from penstock.serving.addresses import pinned_version
from penstock.serving.arms import ServedArm
from penstock.serving.http.message import Reply
from penstock.serving.pages.oip import unready
from penstock.serving.pages.visit import Page, Visit

_encode = msgspec.json.Encoder().encode


def states(visit: Visit) -> list[VersionState]:
    """How far the versions of a model are, or the one that is pinned; raises NotFound.

    They are what is served, what is being loaded or freed, and, with the reason, what could not be loaded or was
    unloaded.
    """
    node, name = visit.node, visit.name
    endpoint = node.addresses.endpoints.get(name)
    found = {_number(arm): VersionState(_number(arm), "UNLOADING") for arm in node.retiring if arm.endpoint == name}
    wanted = node.wanted.get(name)
    problem = node.problems.get(name, "")
    for arm in wanted.arms if wanted is not None else ():
        number = arm.version.rpartition("/")[2]
        found[number] = VersionState(number, "END" if problem else "LOADING", problem)
    unloaded = node.addresses.known.get(name) if node.unloaded(name) else None
    for arm in unloaded.arms if unloaded is not None else ():
        number = arm.version.rpartition("/")[2]
        # One that still answers its last calls is UNLOADING.
        found.setdefault(number, VersionState(number, "END", node.not_loaded(name) or "", Unavailable.kind))
    for version, held in node.held_back().get(name, {}).items():
        found[version] = VersionState(version, held.state, held.problem, held.kind)
    for served in endpoint.arms if endpoint is not None else ():
        state = VersionState(_number(served), "AVAILABLE" if served.batcher.runner.alive else "LOADING")
        found[state.version] = state
    asked = _asked(visit)
    if not found:
        # Raises: nothing has that name.
        node.endpoint(name, visit.caller)
    if asked is not None:
        found = {version: state for version, state in found.items() if version == asked}
    if not found:
        raise NotFound("unknown-version", f"{name} has no version {str(asked)[:80]!r}")
    return list(found.values())


def _number(arm: ServedArm) -> str:
    return arm.arm.version.rpartition("/")[2]


def _asked(visit: Visit) -> str | None:
    """The version that the address pins, by itself or by a label."""
    address = visit.address
    if address.label is None:
        return None if address.version is None else address.version.rpartition("/")[2]
    addresses = visit.node.addresses
    served = addresses.endpoints.get(visit.name)
    route = served.route if served is not None else addresses.known.get(visit.name)
    # Labels of what is not loaded are known, too; `visit.endpoint` raises where nothing has that name.
    return version_of_label(visit.endpoint.route if route is None else route, address.label).rpartition("/")[2]


def model(visit: Visit) -> Reply:
    """The states of a model's versions; of the model itself with what OpenAI's and KServe's clients look for there."""
    document, address = documents.status(states(visit)), visit.address
    if address.version is None and address.label is None:
        document |= model_object(visit.name) | readiness(visit.name, _answers(visit))
    return Reply(200, JSON, _encode(document))


def _answers(visit: Visit) -> bool:
    try:
        return not unready(visit)
    except PenstockError:  # all of its versions are held back: it has states, and no endpoint
        return False


def metadata(visit: Visit) -> Reply:
    """What a version takes and gives; without one in the address, the version that most calls go to."""
    endpoint = visit.endpoint
    version = pinned_version(endpoint, visit.address)
    arm = (
        max(endpoint.arms, key=lambda served: served.arm.weight)
        if version is None
        else endpoint.arms[arm_of_version(endpoint.route, version)]
    )
    return Reply(200, JSON, _encode(documents.metadata(visit.name, _number(arm), arm.signature)))


MODEL_PAGES: Mapping[str, Page] = {"tf-status": Page(model), "tf-metadata": Page(metadata)}
