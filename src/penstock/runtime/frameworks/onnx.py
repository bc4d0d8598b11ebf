"""ONNX models on ONNX Runtime, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from penstock.bundle.manifest import Artifact
from penstock.core.errors import ModelFailed
from penstock.core.signature import Signature
from penstock.core.tensors import Array, Tensors
from penstock.runtime.frameworks.tabular import damaged
from penstock.runtime.ort import onnxruntime as ort


class OnnxModel:
    """An ONNX Runtime session whose input and output names are the signature's."""

    def __init__(self, path: Path, artifact: Artifact, signature: Signature) -> None:
        session = session_of(path, artifact.options)
        # What InferenceSession.run calls after checks in Python that the signature has already made.
        self._run: Any = session._sess.run
        self._names = [field.name for field in signature.outputs]
        # A table's columns are [-1] on the wire, but converters build graphs that take [-1, 1].
        ranks = {i.name: len(i.shape) for i in session.get_inputs()}
        self._columns = [f.name for f in signature.inputs if len(f.shape) == 1 and ranks.get(f.name) == 2]
        # ONNX has no missing text: the converter gave this text its meaning.
        self._missing_text: str = artifact.options.get("missing_text", "")
        texts = [f.name for f in signature.inputs if f.datatype == "BYTES" and f.nullable]
        self._texts = texts if self._missing_text else []

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not an ONNX model's business."""
        if self._texts:
            inputs = {**inputs, **{name: _filled(inputs[name], self._missing_text) for name in self._texts}}
        if self._columns:
            inputs = {name: array.reshape(-1, 1) if name in self._columns else array for name, array in inputs.items()}
        try:
            return dict(zip(self._names, self._run(self._names, inputs, None), strict=True))
        except Exception as error:
            raise ModelFailed("model-failed", f"ONNX Runtime: {str(error)[:300]}") from None

    def close(self) -> None:
        """Drop the session, and with it the memory of its weights."""
        self._run = None


def session_of(path: Path, told: Mapping[str, Any]) -> Any:
    """A session for the graph at `path`. Options: `threads` (default 1)."""
    options = ort.SessionOptions()
    # One thread a call: the node runs one event loop per core, and threads of the model would fight over them.
    options.intra_op_num_threads = int(told.get("threads", 1))
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # The arena keeps its high-water mark for ever: memory would not come back after an unload.
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _filled(array: Array, text: str) -> Array:
    missing = np.array([element is None for element in array.ravel()]).reshape(array.shape)
    return np.where(missing, text, array) if missing.any() else array


def load(path: Path, artifact: Artifact, signature: Signature) -> OnnxModel:
    """Open the graph at `path`; raises InvalidInput("damaged-model")."""
    ort.set_default_logger_severity(4)
    try:
        return OnnxModel(path, artifact, signature)
    except Exception as error:  # ONNX Runtime has one exception class per status, with no common base to name
        raise damaged(path, error) from error
