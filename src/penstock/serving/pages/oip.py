"""Health, readiness and metadata, as the Open Inference Protocol has them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.core.routes import arm_of_version
from penstock.core.version import __version__
from penstock.protocols.oip import metadata
from penstock.protocols.problems import JSON
from penstock.serving.addresses import pinned_version
from penstock.serving.arms import ServedEndpoint
from penstock.serving.http.message import Reply
from penstock.serving.pages.visit import Page, Visit

_encode = msgspec.json.Encoder().encode


def live(visit: Visit) -> Reply:
    """That the process answers."""
    return Reply(200, JSON, metadata.health("live", True))


def ready(visit: Visit) -> Reply:
    """Whether the node should get traffic."""
    is_ready = visit.node.ready()
    return Reply(200 if is_ready else 503, JSON, metadata.health("ready", is_ready))


def server(visit: Visit) -> Reply:
    """What the server is."""
    return Reply(200, JSON, metadata.server_metadata(__version__))


def models(visit: Visit) -> Reply:
    """The models that are served, or should be; a caller sees those he may call."""
    return Reply(200, JSON, _encode({"models": served_names(visit)}))


def served_names(visit: Visit) -> list[str]:
    """The endpoints that are served, or should be, and that the caller may call."""
    node, caller = visit.node, visit.caller
    return sorted(
        name for name in {*node.addresses.endpoints, *node.problems} if caller is None or caller.may_call(name)
    )


def model_ready(visit: Visit) -> Reply:
    """Whether one model answers."""
    problem = unready(visit)
    return Reply(503 if problem else 200, JSON, metadata.model_ready(visit.name, not problem, problem))


def unready(visit: Visit) -> str:
    """Why a model does not answer, empty if it does; raises NotFound."""
    problem = visit.node.not_loaded(visit.name)
    if problem is not None:
        return problem
    endpoint, version = _served(visit)
    # Only what is pinned, or could be drawn, has to be up.
    asked = (
        [endpoint.arms[arm_of_version(endpoint.route, version)]]
        if version is not None
        else [arm for arm in endpoint.arms if arm.arm.weight]
    )
    down = [arm.arm.version for arm in asked if not arm.batcher.runner.alive]
    return f"no process of {', '.join(down)} is alive; it is being started again" if down else ""


def model(visit: Visit) -> Reply:
    """What one model takes and gives."""
    endpoint, version = _served(visit)
    arm = endpoint.arms[0 if version is None else arm_of_version(endpoint.route, version)]
    versions = [arm.arm.version.rpartition("/")[2] for arm in endpoint.arms]
    platform = f"penstock_{arm.bundle.manifest.served.runtime}"
    return Reply(200, JSON, metadata.model_metadata(visit.name, versions, platform, arm.signature))


def _served(visit: Visit) -> tuple[ServedEndpoint, str | None]:
    """The endpoint, and the version of it that is pinned."""
    endpoint = visit.endpoint
    return endpoint, pinned_version(endpoint, visit.address)


PAGES: Mapping[str, Page] = {
    "/v2/health/live": Page(live),
    "/v2/health/ready": Page(ready),
    "/v2": Page(server),
    "/v2/models": Page(models, keyed=True),
}
MODEL_PAGES: Mapping[str, Page] = {"ready": Page(model_ready), "metadata": Page(model)}
