"""The address of MLflow's scoring server."""

from __future__ import annotations

from penstock.protocols.address import ModelAddress


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `invocations`."""
    return ModelAddress(None, None, "invocations") if len(parts) == 1 else None
