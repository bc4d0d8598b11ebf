"""What KServe's own client reads of its first protocol, beside the keys of other contracts at the same addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ALIVE: Mapping[str, Any] = {"status": "alive"}
"""Of the server, at `/`."""


def readiness(name: str, ready: bool) -> dict[str, Any]:
    """Of a model, at `/v1/models/{name}`."""
    return {"name": name, "ready": ready}
