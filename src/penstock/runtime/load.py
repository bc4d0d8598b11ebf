"""From a verified bundle to a model in memory: the one place that knows which framework opens what."""

from __future__ import annotations

from importlib import import_module

from penstock.bundle.bundle import Bundle
from penstock.bundle.manifest import Artifact
from penstock.runtime.model import Model


def load_model(bundle: Bundle, artifact: Artifact | None = None) -> Model:
    """Load the served form of `bundle`, or the given artifact of it (packing loads the original, too).

    The frameworks are imported on demand: a node that serves ONNX never imports scikit-learn.
    """
    artifact = artifact or bundle.manifest.served
    framework = import_module(f"penstock.runtime.frameworks.{artifact.runtime}")
    model: Model = framework.load(bundle.path(artifact.path), artifact, bundle.manifest.signature)
    return model
