"""From a verified bundle to a model in memory: the one place that knows which framework opens what."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from penstock.bundle.bundle import Bundle
from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unavailable
from penstock.core.signature import Signature
from penstock.runtime.model import Model

# The frameworks whose `load` takes `allow_pickle`.
MAY_HOLD_PICKLES = ("sklearn", "statsmodels", "mlflow", "graph")


def load_model(bundle: Bundle, artifact: Artifact | None = None, *, allow_pickle: bool = False) -> Model:
    """Load the served form of `bundle`, or the given artifact of it (packing loads the original, too).

    The frameworks are imported on demand: a node that serves ONNX never imports scikit-learn. `allow_pickle` is for
    a model's own worker process and for packing under a waiver; see `frameworks.sklearn.open_estimator`.
    Raises Unavailable("module-missing") when the model needs a package that is not installed here, Refused for a file
    that may not be opened, InvalidInput for a damaged one.
    """
    artifact = artifact or bundle.manifest.served
    path, signature = bundle.path(artifact.path), bundle.manifest.signature
    # Whoever runs it in a process that must hold no code believes the manifest: the steps must bear it out.
    no_code = bundle.manifest.builtin_operators
    return load_artifact(path, artifact, signature, allow_pickle=allow_pickle, no_code=no_code)


def load_artifact(
    path: Path, artifact: Artifact, signature: Signature, *, allow_pickle: bool = False, no_code: bool = False
) -> Model:
    """Load the artifact that lies at `path`; see `load_model`. With `no_code` a graph's steps must hold none."""
    permits = {"allow_pickle": allow_pickle} if artifact.runtime in MAY_HOLD_PICKLES else {}
    if artifact.runtime == "graph":
        permits["no_code"] = no_code
    try:
        framework = import_module(f"penstock.runtime.frameworks.{artifact.runtime}")
        model: Model = framework.load(path, artifact, signature, **permits)
    except ModuleNotFoundError as error:
        raise Unavailable(
            "module-missing",
            f"the {artifact.runtime} model needs the module {error.name!r}, which this Python does not have",
            hint="install what the bundle's requirements name, or build its environment",
        ) from error
    return model
