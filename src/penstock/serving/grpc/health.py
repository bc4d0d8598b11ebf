"""The standard health check, grpc.health.v1: whether this node should get traffic, whichever service is named."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.serving.grpc.methods import PageMethod
from penstock.serving.pages.visit import Visit

# HealthCheckResponse, whose field 1 is SERVING (1) or NOT_SERVING (2).
_SERVING, _NOT_SERVING = b"\x08\x01", b"\x08\x02"


def _check(visit: Visit) -> bytes:
    return _SERVING if visit.node.ready() else _NOT_SERVING


PAGES: Mapping[str, PageMethod] = {"/grpc.health.v1.Health/Check": PageMethod(_check, open=True)}
