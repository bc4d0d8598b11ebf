"""Everything a node answers that is not a call to a model: health, metadata, metrics."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.core.errors import PenstockError
from penstock.core.routes import arm_of_version
from penstock.core.version import __version__
from penstock.protocols.oip import metadata
from penstock.protocols.problems import body_of, headers_of, status_of
from penstock.serving.access import Caller
from penstock.serving.addresses import Addresses, ModelAddress
from penstock.serving.board import Boards
from penstock.serving.http.message import JSON, Reply

MODELS = "/v2/models"
_encode = msgspec.json.Encoder().encode


def plain_page(
    path: str, addresses: Addresses, boards: Boards, problems: Mapping[str, str], caller: Caller | None
) -> Reply | None:
    """The reply to a GET of `path`, or None if there is no such page. A caller sees the models he may call."""
    match path:
        case "/v2/health/live":
            return Reply(200, JSON, metadata.health("live", True))
        case "/v2/health/ready":
            ready = boards.all_ready() and not (problems and not addresses.endpoints)
            return Reply(200 if ready else 503, JSON, metadata.health("ready", ready))
        case "/v2" | "/":
            return Reply(200, JSON, metadata.server_metadata(__version__))
        case _ if path == MODELS:
            names = {*addresses.endpoints, *problems}
            return Reply(200, JSON, _encode({"models": sorted(n for n in names if not caller or caller.may_call(n))}))
        case "/metrics":
            # On the first scrape only: the client library is no part of a cold start.
            from penstock.serving import metrics

            return Reply(200, metrics.CONTENT_TYPE, metrics.page(boards))
    return None


def model_page(address: ModelAddress, addresses: Addresses, problems: Mapping[str, str]) -> Reply:
    """Readiness or metadata of one model; raises NotFound."""
    problem = problems.get(address.name)
    if problem is not None and address.name not in addresses.endpoints:
        return Reply(503, JSON, metadata.model_ready(address.name, False, problem))
    endpoint = addresses.endpoint(address.name)
    chosen = arm_of_version(endpoint.route, address.version) if address.version is not None else 0
    if address.verb == "ready":
        # Only what is pinned, or could be drawn, has to be up.
        asked = [endpoint.arms[chosen]] if address.version is not None else [a for a in endpoint.arms if a.arm.weight]
        down = [arm.arm.version for arm in asked if not arm.batcher.runner.alive]
        if down:
            reason = f"no process of {', '.join(down)} is alive; it is being started again"
            return Reply(503, JSON, metadata.model_ready(address.name, False, reason))
        return Reply(200, JSON, metadata.model_ready(address.name, True))
    arm = endpoint.arms[chosen]
    versions = [arm.arm.version.rpartition("/")[2] for arm in endpoint.arms]
    platform = f"penstock_{arm.bundle.manifest.served.runtime}"
    return Reply(200, JSON, metadata.model_metadata(address.name, versions, platform, arm.signature))


def wrong_method(allowed: str) -> Reply:
    """The reply to a method that an address does not take."""
    body = _encode({"error": f"this address takes {allowed} only", "code": "wrong-method"})
    return Reply(405, JSON + f"allow: {allowed}\r\n".encode(), body)


def failure(error: PenstockError) -> Reply:
    """The reply for a failure."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers_of(error).items())
    return Reply(status_of(error), JSON + lines.encode(), _encode(body_of(error)))
