"""Addresses below `/v1`, which several contracts share: the part after it tells which.

A new contract there is a line in the table.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.protocols.address import ModelAddress, Parse
from penstock.protocols.openai.urls import parse_v1 as parse_openai
from penstock.protocols.tfserving.urls import parse as parse_models
from penstock.protocols.vertex.urls import parse as parse_vertex

# By the second part of a path.
PARSERS: Mapping[str, Parse] = {"models": parse_models, "embeddings": parse_openai, "endpoints": parse_vertex}


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `v1`.

    Example:
        >>> parse(["v1", "models", "churn:predict"]).name
        'churn'
        >>> parse(["v1", "somewhere"])
    """
    contract = PARSERS.get(parts[1]) if len(parts) > 1 else None
    return contract(parts) if contract is not None else None
