"""Graphs of bundles, which say themselves what they take and give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.pack.original import Description
from penstock.runtime.environment import pins_of
from penstock.runtime.frameworks.graph import GraphModel, OpenGraph


def describe(opened: OpenGraph) -> Description:
    """The signature that follows from the steps, the digest of each, and what all of them need."""
    pins: set[str] = set()
    for bundle in opened.bundles.values():
        pins |= pins_of(bundle.path(bundle.manifest.environment.requirements).read_text()).keys()
    return Description(
        runtime="graph",
        kind="graph",
        declared=opened.signature,
        parameters={"steps": {name: bundle.digest for name, bundle in opened.bundles.items()}},
        distributions=tuple(sorted(pins)),
    )


def answer(opened: OpenGraph, x: Any) -> Tensors:
    """Never asked: a graph says what it gives."""
    raise Unsupported("unsupported-graph", "a graph of bundles is not probed")


def adapt(opened: OpenGraph, options: Mapping[str, Any], signature: Signature) -> GraphModel:
    """The adapter that will serve it."""
    return GraphModel(opened.graph, opened.models, opened.bundles, signature)
