"""TensorFlow: SavedModels and Keras models, on one thread of the CPU."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Read when the library is imported: which library Keras runs on, and that it does not talk of itself.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import msgspec
import numpy as np
import tensorflow as tf

from penstock.bundle.manifest import Artifact
from penstock.core.errors import PenstockError, Refused, Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Array, Tensors, datatype_of
from penstock.runtime.frameworks.tabular import Outputs, damaged, failed
from penstock.runtime.frameworks.tensorflow_operators import check_operators

_SIGNATURE = "serving_default"


class Program(msgspec.Struct, frozen=True):
    """Something that answers named tensors with named tensors; `kept` is what must live as long as it does."""

    call: Callable[[dict[str, Any]], Mapping[str, Any]]
    inputs: tuple[Field, ...]
    kind: str
    kept: Any


class TensorflowModel:
    """A program of TensorFlow."""

    def __init__(self, program: Program, options: Mapping[str, Any], signature: Signature) -> None:
        self._program: Any = program
        self._outputs = Outputs(signature)

    def run(self, inputs: Tensors, parameters: Mapping[str, Any] | None = None) -> Tensors:
        """See `Model.run`; parameters are not a program's business."""
        try:
            results = answer(self._program, inputs)
        except Exception as error:  # whatever a program raises is the model's failure, not the server's
            raise failed(error) from error
        return self._outputs.pack(results, len(next(iter(inputs.values()))))

    def close(self) -> None:
        """Drop the program."""
        self._program = None


def answer(program: Program, inputs: Tensors) -> dict[str, Array]:
    """The program's outputs by name."""
    results = program.call({name: tf.constant(array) for name, array in inputs.items()})
    return {name: _array(value.numpy()) for name, value in results.items()}


def _array(array: Array) -> Array:
    if array.dtype != object:
        return array
    out: Array = np.empty(array.shape, object)
    out.ravel()[:] = [text.decode("utf-8", "replace") for text in array.ravel().tolist()]
    return out


def load(path: Path, artifact: Artifact, signature: Signature) -> TensorflowModel:
    """Open the model for which the file at `path` stands."""
    if artifact.serialization != "native":
        raise Unsupported("unsupported-serialization", f"TensorFlow models are not stored as {artifact.serialization}")
    return TensorflowModel(open_estimator(path), artifact.options, signature)


def open_estimator(path: Path) -> Program:
    """The program of a SavedModel, a .keras file, or an unpacked one.

    Raises Unsupported with the operator or layer that is not known here, Refused for one that holds Python code,
    InvalidInput("damaged-model") for what TensorFlow cannot read.
    """
    # The library takes no other number after its first operation.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
    try:
        return _saved_model(path) if path.name == "saved_model.pb" else _keras(path)
    except PenstockError:
        raise
    except Exception as error:  # its readers raise as many classes as there are reasons
        raise damaged(path, error) from error


def _saved_model(path: Path) -> Program:
    check_operators(path)
    loaded = tf.saved_model.load(str(path.parent))
    names = list(loaded.signatures)
    if _SIGNATURE not in names and len(names) != 1:
        raise Unsupported(
            "unsupported-model",
            f"the SavedModel has the signatures {', '.join(names) or '(none)'}, and not {_SIGNATURE}",
            hint=f"save it with signatures={{'{_SIGNATURE}': function}}",
        )
    function = loaded.signatures[_SIGNATURE if _SIGNATURE in names else names[0]]
    specs = function.structured_input_signature[1]
    fields = tuple(field_of(name, spec) for name, spec in sorted(specs.items()))
    return Program(lambda inputs: function(**inputs), fields, "SavedModel", loaded)


def _keras(path: Path) -> Program:
    import keras

    where = path.parent if path.name == "config.json" else path
    try:
        model = keras.saving.load_model(str(where), compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        raise _refusal(error) or error from error
    if not getattr(model, "inputs", None):
        raise Unsupported("unsupported-model", "the Keras model does not say what it takes", hint=_EXPORT)
    names = [value.name for value in model.inputs]
    fields = tuple(field_of(name, value) for name, value in zip(names, model.inputs, strict=True))
    shape = model.input if hasattr(model, "input") else None

    def call(inputs: dict[str, Any]) -> Mapping[str, Any]:
        values = [inputs[name] for name in names]
        if isinstance(shape, dict):
            given: Any = dict(zip(shape, (inputs[value.name] for value in shape.values()), strict=True))
        else:
            given = values[0] if len(values) == 1 else values
        result = model(given, training=False)
        if isinstance(result, Mapping):
            return {str(name): value for name, value in result.items()}
        if isinstance(result, (list, tuple)):
            return {f"output_{number}": value for number, value in enumerate(result)}
        return {"output": result}

    return Program(call, fields, f"keras.{type(model).__name__}", model)


_EXPORT = "write it as a SavedModel, which holds all it needs: model.export(folder)"


def _refusal(error: Exception) -> PenstockError | None:
    said = (str(error).splitlines() or [""])[0][:300]
    if "unsafe" in said or "safe_mode" in str(error):
        return Refused("model-with-code", f"the Keras model holds Python code: {said}", hint=_EXPORT)
    if unknown := re.search(r"Could not locate (?:class|function) '([^']+)'", str(error)):
        return Unsupported("unsupported-model", f"the Keras model uses {unknown[1]}, which Keras lacks", hint=_EXPORT)
    return None


def field_of(name: str, spec: Any) -> Field:
    """The field of a tensor as TensorFlow or Keras describes it."""
    dtype = tf.as_dtype(spec.dtype)
    if spec.shape is None or getattr(spec.shape, "rank", 0) is None:
        raise Unsupported("unsupported-graph", f"{name!r} of the model has any number of axes")
    try:
        datatype = "BYTES" if dtype == tf.string else datatype_of(np.empty(0, dtype.as_numpy_dtype))
    except (KeyError, TypeError, ValueError):
        raise Unsupported(
            "unsupported-graph", f"{name!r} of the model is {dtype.name}, which has no datatype"
        ) from None
    return Field(name=name, datatype=datatype, shape=tuple(-1 if size is None else int(size) for size in spec.shape))
