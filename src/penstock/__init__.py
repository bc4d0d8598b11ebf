"""Penstock takes a trained model from a file to a fast, watched, reversible deployment.

Everything here is loaded when it is first used: a node must not pay for the client, nor a client for packing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from penstock.core.version import __version__

if TYPE_CHECKING:
    from penstock.cli.deploy import deploy
    from penstock.cli.steering import rollouts
    from penstock.core.errors import (
        Conflict,
        DeadlineExceeded,
        Forbidden,
        InvalidInput,
        ModelFailed,
        NotFound,
        Overloaded,
        PenstockError,
        Refused,
        TooLarge,
        Unauthenticated,
        Unavailable,
        Unsupported,
        UnsupportedMedia,
    )
    from penstock.pack import graph, pack
    from penstock.sdk.async_client import AsyncClient
    from penstock.sdk.client import Client
    from penstock.sdk.prediction import Prediction

__all__ = [
    "AsyncClient",
    "Client",
    "Conflict",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidInput",
    "ModelFailed",
    "NotFound",
    "Overloaded",
    "PenstockError",
    "Prediction",
    "Refused",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UnsupportedMedia",
    "WrongMethod",
    "__version__",
    "deploy",
    "graph",
    "pack",
    "rollouts",
]

_ERRORS = "penstock.core.errors"
# `pack` is not here: it is the package `penstock.pack` itself, which can be called. See docs/decisions.
_HOMES = {
    "AsyncClient": "penstock.sdk.async_client",
    "Client": "penstock.sdk.client",
    "Conflict": _ERRORS,
    "DeadlineExceeded": _ERRORS,
    "Forbidden": _ERRORS,
    "InvalidInput": _ERRORS,
    "ModelFailed": _ERRORS,
    "NotFound": _ERRORS,
    "Overloaded": _ERRORS,
    "PenstockError": _ERRORS,
    "Prediction": "penstock.sdk.prediction",
    "Refused": _ERRORS,
    "TooLarge": _ERRORS,
    "Unauthenticated": _ERRORS,
    "Unavailable": _ERRORS,
    "Unsupported": _ERRORS,
    "UnsupportedMedia": _ERRORS,
    "WrongMethod": _ERRORS,
    "deploy": "penstock.cli.deploy",
    "graph": "penstock.pack.packing",
    "rollouts": "penstock.cli.steering",
}


def __getattr__(name: str) -> Any:
    if name == "pack":
        return importlib.import_module("penstock.pack")
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module 'penstock' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
