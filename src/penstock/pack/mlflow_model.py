"""An MLflow model folder, read without MLflow: its flavors, signature, environment and input example.

The `MLmodel` file is described in https://mlflow.org/docs/latest/ml/model/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from penstock.core.errors import InvalidInput, Refused, Unsupported
from penstock.pack.sample import tensors_sample

MLMODEL = "MLmodel"
_DTYPES = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64", "string": "str",
}  # fmt: skip


class Column(msgspec.Struct, frozen=True):
    """One entry of a signature: a column with a `type`, or a tensor with a dtype and a shape."""

    name: str = ""
    type: str = ""
    required: bool = True
    tensor: dict[str, Any] = msgspec.field(name="tensor-spec", default={})


class MlflowModel(msgspec.Struct, frozen=True):
    """What the files of a folder say; `python` is the version they name, `requirements` what they list."""

    folder: Path
    flavors: dict[str, dict[str, Any]]
    inputs: tuple[Column, ...]
    params: tuple[dict[str, Any], ...]
    example: dict[str, Any]
    identity: dict[str, str]

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the columns of a model that takes a frame; None for one that takes tensors, or says nothing."""
        return tuple(column.name for column in self.inputs) if self.inputs and not self._tensors else None

    @property
    def unnamed(self) -> bool:
        """Whether the model takes one tensor itself."""
        return len(self.inputs) == 1 and self._tensors and not self.inputs[0].name

    @property
    def _tensors(self) -> bool:
        return any(column.tensor for column in self.inputs)

    @property
    def requirements(self) -> str:
        """The text of `requirements.txt`; empty without one."""
        path = self.folder / "requirements.txt"
        try:
            return path.read_text() if path.is_file() else ""
        except UnicodeDecodeError:
            raise InvalidInput("damaged-model", f"{path} is no text") from None

    @property
    def python(self) -> str:
        """The minor version of Python that the model was saved by, for example 3.11; empty if it does not say."""
        version = str(self.flavors.get("python_function", {}).get("python_version", ""))
        return ".".join(version.split(".")[:2])

    @property
    def files(self) -> tuple[str, ...]:
        """Every file of the model, relative to its folder. Hidden ones and what a registry left there are none."""
        found = sorted(path.relative_to(self.folder) for path in self.folder.rglob("*") if not path.is_dir())
        return tuple(
            path.as_posix()
            for path in found
            if path.name != "registered_model_meta"
            and "__pycache__" not in path.parts
            and not any(part.startswith(".") for part in path.parts)
        )

    def dtypes(self) -> dict[str, str]:
        """What each column is to be read as; raises Unsupported("unsupported-mlflow-type")."""
        if self.columns is None:
            return {}
        for column in self.inputs:
            if column.type not in _DTYPES:
                raise Unsupported(
                    "unsupported-mlflow-type",
                    f"column {column.name!r} of the MLflow signature is of type {column.type[:40]!r}",
                    hint=f"Penstock takes columns of {', '.join(_DTYPES)}, and tensors",
                )
        # A whole number that may be missing has no type of its own in a frame: the values decide.
        return {c.name: _DTYPES[c.type] for c in self.inputs if c.required or c.type not in ("integer", "long")}

    def sample(self) -> Any:
        """The input example as a sample; None without one. Raises InvalidInput("unreadable-sample")."""
        if not self.example:
            return None
        path = self.folder / str(self.example.get("artifact_path", "input_example.json"))
        try:
            data = msgspec.json.decode(path.read_bytes())
            if isinstance(data, dict) and "inputs" in data and set(data) <= {"inputs", "params"}:
                data = data["inputs"]
            return self._sample(data)
        except (OSError, msgspec.MsgspecError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise InvalidInput(
                "unreadable-sample",
                f"the input example {path.name} cannot be read: {str(error)[:200]}",
                hint="give rows with --sample",
            ) from None

    def _sample(self, data: Any) -> Any:
        if self._tensors or self.example.get("type") == "ndarray":
            named = data if isinstance(data, dict) else {(self.inputs[0].name if self.inputs else "") or "x": data}
            dtypes = {c.name or "x": c.tensor.get("dtype") for c in self.inputs}
            arrays = {str(name): np.asarray(values, dtypes.get(name)) for name, values in named.items()}
            return next(iter(arrays.values())) if self.unnamed or not self.inputs else tensors_sample(arrays)
        if isinstance(data, dict) and set(data) >= {"columns", "data"}:
            return pd.DataFrame(data["data"], columns=data["columns"])
        if isinstance(data, dict):
            return pd.DataFrame(data if all(isinstance(v, list) for v in data.values()) else [data])
        return pd.DataFrame(data)


def find_mlmodel(folder: Path) -> bool:
    """Whether a folder is an MLflow model."""
    return (folder / MLMODEL).is_file()


def read_mlmodel(folder: Path) -> MlflowModel:
    """Read an MLflow model folder; raises InvalidInput("damaged-model") for a file that is no `MLmodel`.

    Raises Refused("unsafe-archive") for links, and for paths in that file which leave the folder.
    """
    links = [path for path in folder.rglob("*") if path.is_symlink()]
    if links:
        raise Refused("unsafe-archive", f"{links[0]} is a link", hint="copy the file into the folder")
    from penstock.storage.yaml_text import read_yaml

    try:
        said = read_yaml((folder / MLMODEL).read_text(), MLMODEL)
        signature = said.get("signature") or {}
        flavors = {str(name): dict(about or {}) for name, about in said["flavors"].items()}
        inputs = msgspec.convert(_json(signature.get("inputs")), tuple[Column, ...])
        params = tuple(msgspec.convert(_json(signature.get("params")), list[dict[str, Any]]))
        example = dict(said.get("saved_input_example_info") or {})
        _check_paths(folder, [said["flavors"], example])
    except (KeyError, AttributeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise InvalidInput("damaged-model", f"{folder / MLMODEL} is no MLmodel file: {str(error)[:200]}") from None
    keys = ("run_id", "model_id", "model_uuid", "mlflow_version")
    identity = {f"mlflow.{key}": str(said[key]) for key in keys if said.get(key)}
    return MlflowModel(folder, flavors, inputs, params, example, identity)


def _check_paths(folder: Path, said: Any) -> None:
    """Refuse any text that would be a path out of the folder: which of them are paths, each flavor knows for itself."""
    if isinstance(said, str) and (Path(said).is_absolute() or ".." in Path(said).parts):
        raise Refused("unsafe-archive", f"{folder / MLMODEL} names {said[:100]!r}, which is not in the folder")
    for part in said.values() if isinstance(said, dict) else said if isinstance(said, list) else ():
        _check_paths(folder, part)


def _json(text: Any) -> Any:
    return msgspec.json.decode(text) if isinstance(text, str) and text else []
