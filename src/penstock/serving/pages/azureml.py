"""What Azure ML asks a server beside calls: the description of `/score`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.protocols.problems import JSON
from penstock.serving.http.message import Reply
from penstock.serving.pages.visit import Page, Visit


def description(visit: Visit) -> Reply:
    """The description in the version that the query asks for, 2 without one."""
    # On the first request for one only: no part of a cold start.
    from urllib.parse import parse_qs

    from penstock.protocols.azureml.swagger import swagger

    query = parse_qs(visit.request.url.partition(b"?")[2].decode("latin-1"))
    arm = max(visit.endpoint.arms, key=lambda served: served.arm.weight)
    version = arm.arm.version.rpartition("/")[2]
    return Reply(
        200, JSON, msgspec.json.encode(swagger(query.get("version", ["2"])[0], visit.name, version, arm.signature))
    )


MODEL_PAGES: Mapping[str, Page] = {"swagger.json": Page(description)}
