"""An MLflow model as what Penstock packs: its native file where there is one we know, else its `python_function`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from penstock.bundle.manifest import Artifact, Runtime, Serialization
from penstock.core.errors import InvalidInput, NotFound, Unavailable, Unsupported
from penstock.pack.lock import Lock, lock_of
from penstock.pack.mlflow_model import MLMODEL, MlflowModel, find_mlmodel, read_mlmodel
from penstock.pack.opening import files_beside
from penstock.pack.original import Description

PYFUNC = "python_function"
_URI = re.compile(r"(runs|models|mlflow-artifacts):/.")
_NATIVE = {".json": "xgboost", ".ubj": "xgboost", ".cb": "catboost", ".cbm": "catboost", ".onnx": "onnx"}


class MlflowSource(msgspec.Struct, frozen=True):
    """What to open and as what. A `description` and a `lock` come with a `python_function` only."""

    path: Path
    artifact: Artifact
    beside: dict[str, Path]
    lock: Lock | None = None
    description: Description | None = None


def is_mlflow(model: str) -> bool:
    """Whether this names an MLflow model: a folder with an `MLmodel` file, or an address of MLflow's.

    Example:
        >>> is_mlflow("models:/churn@champion"), is_mlflow("model.joblib")
        (True, False)
    """
    return bool(_URI.match(model)) or find_mlmodel(Path(model))


def folder_of(model: str, scratch: Path) -> Path:
    """The folder of an MLflow model; an address is resolved by the tracking server of MLFLOW_TRACKING_URI.

    Raises Unsupported("missing-extra") without MLflow, NotFound("unknown-mlflow-model") and
    Unavailable("mlflow-unavailable").
    """
    if not _URI.match(model):
        return Path(model)
    try:
        from mlflow import artifacts
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra",
            f"the address {model[:200]} needs {error.name}",
            hint="pip install 'penstock[mlflow]', or give the model's folder",
        ) from None
    try:
        folder = Path(artifacts.download_artifacts(artifact_uri=model, dst_path=str(scratch)))
    except (MlflowException, OSError) as error:
        said = f"MLflow gives no model {model[:200]}: {str(error)[:300]}"
        if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise NotFound("unknown-mlflow-model", said) from None
        raise Unavailable("mlflow-unavailable", said, hint="is MLFLOW_TRACKING_URI right?") from None
    if not find_mlmodel(folder):
        raise NotFound("unknown-mlflow-model", f"there is no {MLMODEL} file at {model[:200]}")
    return folder


def read_source(folder: Path, flavor: str, scratch: Path) -> tuple[MlflowModel, MlflowSource]:
    """Read the folder and choose: the native file of a known flavor, unless `flavor` asks for another.

    Raises Unsupported("unsupported-mlflow"), and what `lock_of` raises.
    """
    model = read_mlmodel(folder)
    native = None if flavor == PYFUNC else _native(model.flavors, flavor)
    if native is not None:
        return model, _native_source(model, *native)
    if PYFUNC not in model.flavors or flavor not in ("", PYFUNC):
        has = ", ".join(model.flavors) or "none"
        raise Unsupported("unsupported-mlflow", f"the MLflow model has no flavor that can be packed; it has {has}")
    return model, _pyfunc_source(model, scratch)


def _native(flavors: Mapping[str, Mapping[str, Any]], wanted: str) -> tuple[str, Runtime, Serialization] | None:
    """File, runtime and serialization of the flavor that we open ourselves."""
    if flavors.get(PYFUNC, {}).get("code"):
        return None  # the model brings code of its own, which only MLflow puts where it can be imported
    for name in ("sklearn", "xgboost", "lightgbm", "catboost", "onnx"):
        about = flavors.get(name)
        if about is None or wanted not in ("", name) or _made_elsewhere(name, about):
            continue
        file = str(about.get("pickled_model") or about.get("data") or "")
        suffix = Path(file).suffix.lower()
        if name == "sklearn" and about.get("serialization_format") == "skops":
            return file, "sklearn", "skops"
        if suffix in (".pkl", ".pickle", ".joblib") and name in ("sklearn", "lightgbm"):
            return file, "sklearn", "joblib"
        if name == "lightgbm":
            return file, "lightgbm", "native"
        if _NATIVE.get(suffix) == name:
            return file, name, "onnx" if name == "onnx" else "native"
    return None


def _made_elsewhere(name: str, about: Mapping[str, Any]) -> bool:
    """Whether a scikit-learn estimator was saved by another minor version: such a file may open and answer wrongly."""
    saved = str(about.get("sklearn_version", ""))
    if name != "sklearn" or not saved:
        return False
    try:
        here = metadata.version("scikit-learn")
    except metadata.PackageNotFoundError:
        return True
    return saved.split(".")[:2] != here.split(".")[:2]


def _native_source(model: MlflowModel, file: str, runtime: Runtime, serialization: Serialization) -> MlflowSource:
    path = model.folder / file
    if file not in model.files:
        raise NotFound("unknown-file", f"{MLMODEL} names {file[:100]!r}, which is not in {model.folder}")
    suffix = {"catboost": ".cbm", "lightgbm": ".txt"}.get(runtime, path.suffix.lower())
    artifact = Artifact(path=f"original/model{suffix}", runtime=runtime, serialization=serialization)
    return MlflowSource(path, artifact, files_beside(path, artifact, ""))


def _pyfunc_source(model: MlflowModel, scratch: Path) -> MlflowSource:
    if not model.inputs:
        raise InvalidInput(
            "mlflow-signature-missing",
            "the MLflow model has no signature: nobody can know what it takes",
            hint="log it again with signature=mlflow.models.infer_signature(inputs, outputs)",
        )
    model.dtypes()  # what it takes is settled before an environment is built for it
    lock = lock_of(model.requirements, model.python, scratch)
    options: dict[str, Any] = {}
    if model.params:
        options["params"] = list(model.params)
    if model.unnamed:
        options["unnamed"] = True
    description = Description(
        runtime="mlflow",
        kind=f"mlflow.{str(model.flavors[PYFUNC].get('loader_module', PYFUNC)).removeprefix('mlflow.')}",
        features=model.columns,
        options=options,
    )
    # Whatever its files look like: its loader is a module that the author named, with arguments that he chose.
    artifact = Artifact(path=f"original/{MLMODEL}", runtime="mlflow", serialization="pickle", options=options)
    beside = {name: model.folder / name for name in model.files if name != MLMODEL}
    return MlflowSource(model.folder / MLMODEL, artifact, beside, lock, description)
