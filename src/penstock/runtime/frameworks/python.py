"""A plain Python class with `predict`, stored as source. It runs only in a process of its own.

    class Model:
        def load(self, directory: Path) -> None: ...          # optional; `directory` holds the source and its files
        def predict(self, inputs, parameters=None): ...       # `parameters` is optional

`inputs` follow the signature's layout: `matrix`, the array; `table`, a DataFrame; `tensors`, a dict of arrays.
`predict` returns an array (the first output of the signature) or a dict of output name to array.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Tensors
from penstock.runtime.frameworks.tabular import Outputs, failed, reader


class PythonModel:
    """An instance of a user's class. Options: `columns` (see `tabular.reader`)."""

    def __init__(self, instance: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._instance = instance
        self._read = reader(signature, options)
        self._outputs = Outputs(signature)
        self._first = signature.outputs[0].name
        # Looked at once: the model's own signature never changes between calls.
        self._with_parameters = "parameters" in inspect.signature(instance.predict).parameters

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`."""
        first = next(iter(inputs.values()), None)
        rows = len(first) if first is not None and first.ndim else 1
        try:
            x = self._read(inputs)
            result = self._instance.predict(x, dict(parameters or {})) if self._with_parameters else self._predict(x)
        except Exception as error:  # whatever a user's class raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(result if isinstance(result, Mapping) else {self._first: result}, rows)

    def _predict(self, x: Any) -> Any:
        return self._instance.predict(x)

    def close(self) -> None:
        """Call the class's own `close`, if it has one, and drop the instance."""
        instance, self._instance = self._instance, None
        if hasattr(instance, "close"):
            instance.close()


def load(path: Path, artifact: Artifact, signature: Signature) -> PythonModel:
    """Import the file at `path`, make an instance of the class `artifact.entry` and let it load its files."""
    if artifact.serialization != "source":
        raise Unsupported("unsupported-serialization", f"Python models are not stored as {artifact.serialization}")
    return PythonModel(open_estimator(path, artifact.entry), artifact.options, signature)


def open_estimator(path: Path, entry: str) -> Any:
    """An instance of the class `entry` in the source file `path`, loaded; runs the user's code."""
    # A __pycache__ beside the source would be a file the manifest does not name: the bundle would count as tampered.
    sys.dont_write_bytecode = True
    # The source may import its neighbours, first of all those in its own folder.
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(f"penstock_model_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InvalidInput("damaged-model", f"{path.name} is not a Python source file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    kind = getattr(module, entry, None)
    if not inspect.isclass(kind) or not callable(getattr(kind, "predict", None)):
        raise InvalidInput("damaged-model", f"{path.name} has no class {entry!r} with a method `predict`")
    instance = kind()
    if hasattr(instance, "load"):
        instance.load(path.parent)
    return instance
