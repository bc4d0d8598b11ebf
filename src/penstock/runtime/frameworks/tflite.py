"""TensorFlow Lite models on LiteRT, on one thread of the CPU."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from penstock.bundle.manifest import Artifact
from penstock.core.errors import Unsupported
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.tabular import Outputs, damaged, failed

_SIGNATURE = "serving_default"


class TfliteModel:
    """An interpreter whose inputs and outputs go by the names of its signature, or of its tensors."""

    def __init__(self, interpreter: Any, options: Mapping[str, Any], signature: Signature) -> None:
        self._interpreter: Any = interpreter
        self._outputs = Outputs(signature)
        # Inputs are written into the interpreter, and answers read out of it: one call at a time.
        self._lock = threading.Lock()

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not an interpreter's business."""
        try:
            with self._lock:
                results = answer(self._interpreter, inputs)
        except Exception as error:  # whatever the library raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(next(iter(inputs.values()))))

    def close(self) -> None:
        """Drop the interpreter."""
        self._interpreter = None


def tensors_of(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs by name, as the interpreter describes them."""
    listed = interpreter.get_signature_list()
    name = _SIGNATURE if _SIGNATURE in listed else next(iter(listed), None)
    if name is not None:
        runner = interpreter.get_signature_runner(name)
        return dict(runner.get_input_details()), dict(runner.get_output_details())
    takes, gives = interpreter.get_input_details(), interpreter.get_output_details()
    return {detail["name"]: detail for detail in takes}, {detail["name"]: detail for detail in gives}


def answer(interpreter: Any, inputs: Tensors) -> dict[str, Array]:
    """The interpreter's outputs by name."""
    takes, gives = tensors_of(interpreter)
    resized = False
    for name, detail in takes.items():
        if tuple(interpreter.get_tensor(detail["index"]).shape) != inputs[name].shape:
            interpreter.resize_tensor_input(detail["index"], inputs[name].shape, strict=True)
            resized = True
    if resized:
        interpreter.allocate_tensors()
    for name, detail in takes.items():
        interpreter.set_tensor(detail["index"], np.ascontiguousarray(inputs[name]))
    interpreter.invoke()
    return {name: interpreter.get_tensor(detail["index"]) for name, detail in gives.items()}


def load(path: Path, artifact: Artifact, signature: Signature) -> TfliteModel:
    """Open the model at `path`."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"TFLite models are not stored as {artifact.serialization}")
    return TfliteModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Any:
    """The interpreter of a file; raises Unsupported with a custom operator, InvalidInput("damaged-model")."""
    try:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        said = str(error)
        if "custom op" in said.lower() or "Select TensorFlow op" in said:
            raise Unsupported(
                "unsupported-graph",
                f"the model uses an operator that LiteRT does not have: {said[:300]}",
                hint="convert it with the built-in operators of TFLite only",
            ) from error
        raise damaged(path, error) from error
    return interpreter
