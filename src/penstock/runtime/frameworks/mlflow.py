"""MLflow models of any flavor, by MLflow's `python_function`. They run only in a process of their own.

Options: `columns` (see `tabular.reader`); `params`, the parameters of the model's own schema; `unnamed` true: the model
takes a tensor itself and no dict of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, Refused
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.tabular import PREDICTIONS, Outputs, failed, reader

# Nothing may leave the machine: MLflow reports its use otherwise.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

_KINDS: dict[str, type] = {
    "boolean": bool, "integer": int, "long": int, "float": float, "double": float, "string": str, "datetime": str,
}  # fmt: skip


class PyfuncModel:
    """A loaded `mlflow.pyfunc.PyFuncModel`; one that takes a frame, an array or a dict of arrays."""

    def __init__(self, model: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._model = model
        read = reader(signature, options)
        self._read = (lambda inputs: next(iter(inputs.values()))) if options.get("unnamed") else read
        self._params = {param["name"]: param for param in options.get("params", ())}
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters that the model's schema lacks are left out, as MLflow does."""
        given = {
            name: read_parameter(self._params[name], value)
            for name, value in (parameters or {}).items()
            if name in self._params
        }
        try:
            results = named_results(ask(self._model, self._read(inputs), given))
        except Exception as error:  # whatever a model raises is its failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(next(iter(inputs.values()))))

    def close(self) -> None:
        """Drop the model."""
        self._model = None


def load(path: Path, artifact: Artifact, signature: Signature, *, allow_pickle: bool = False) -> PyfuncModel:
    """Load the model whose `MLmodel` file is at `path`; `allow_pickle` as in `sklearn.open_estimator`."""
    if artifact.serialization != "source" and not allow_pickle:
        raise Refused(
            "pickle-refused",
            "opening an MLflow python_function runs code that its author chose",
            hint="pack it with a waiver, and serve it where the node's policy allows a worker process to open it",
        )
    return PyfuncModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """What MLflow makes of the folder of an `MLmodel` file; runs the code of the model."""
    # A __pycache__ beside the model's code would be a file the manifest does not name.
    sys.dont_write_bytecode = True
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(path.parent))


def ask(model: Any, x: Any, params: Mapping[str, Any]) -> Any:
    """What the model answers; params are told only where there are some, as older models take none."""
    return model.predict(x, params=dict(params)) if params else model.predict(x)


def read_parameter(param: Mapping[str, Any], value: Any) -> Any:
    """A parameter as the model's schema has it; raises InvalidInput("invalid-parameter").

    Example:
        >>> read_parameter({"name": "k", "type": "double", "shape": None}, 2)
        2.0
    """
    values, shape = value if isinstance(value, list) else [value], param.get("shape")
    kind = _KINDS.get(param["type"], str)
    accepted: tuple[type, ...] = (int, float) if kind is float else (kind,)
    right = all(isinstance(one, accepted) and (kind is bool or not isinstance(one, bool)) for one in values)
    if not right or isinstance(value, list) != bool(shape):
        many = "a list of " if shape else ""
        raise InvalidInput("invalid-parameter", f"parameter {param['name']!r} must be {many}{param['type']}")
    return [kind(one) for one in values] if shape else kind(value)


def named_results(result: Any) -> dict[str, Array]:
    """Named arrays of whatever a pyfunc answers: a frame by its columns, a dict by its keys, else `predictions`.

    Example:
        >>> named_results([1, 2])
        {'predictions': array([1, 2])}
    """
    if hasattr(result, "columns") and hasattr(result, "to_numpy"):
        if all(isinstance(name, str) for name in result.columns):
            return {name: _plain(result[name]) for name in result.columns}
        return {PREDICTIONS: _plain(result)}
    if isinstance(result, Mapping):
        return {str(name): _plain(array) for name, array in result.items()}
    return {PREDICTIONS: _plain(result)}


def _plain(values: Any) -> Array:
    array: Array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "O" and array.size:
        # Frames keep numbers beside texts as objects; what they are is seen from the values.
        found = np.array(array.tolist())
        array = found if found.dtype.kind in "biuf" and found.shape == array.shape else array
    return array
