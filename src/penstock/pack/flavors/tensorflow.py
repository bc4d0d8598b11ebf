"""SavedModels and Keras models, which say what they take."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from penstock.core.errors import Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.flavors.declaring import declared_by
from penstock.pack.original import Description
from penstock.runtime.frameworks.tensorflow import Program, TensorflowModel
from penstock.runtime.frameworks.tensorflow import answer as answers

_OPSET = 18


def describe(program: Program) -> Description:
    """The program's own inputs, and what it gives for made-up ones."""
    return Description(
        runtime="tensorflow",
        kind=f"tensorflow.{program.kind}" if program.kind == "SavedModel" else program.kind,
        declared=declared_by(program.inputs, lambda inputs: answers(program, inputs)),
        distributions=distributions_of({"tensorflow", "keras", "numpy"}),
    )


def answer(program: Program, x: Any) -> Tensors:
    """Never asked: the program says what it takes."""
    raise Unsupported("unsupported-graph", "a TensorFlow model is not probed")


def adapt(program: Program, options: Mapping[str, Any], signature: Signature) -> TensorflowModel:
    """The adapter that would serve it."""
    return TensorflowModel(program, options, signature)


def convert(program: Program, signature: Signature) -> list[Candidate]:
    """The ONNX form by tf2onnx; raises CannotConvert with its first words."""
    if texts := [field.name for field in signature.inputs if field.datatype == "BYTES"]:
        raise CannotConvert(f"the input {texts[0]!r} is text, which tf2onnx does not convert")
    try:
        model = _by_tf2onnx(program, signature)
    except ModuleNotFoundError as error:
        raise CannotConvert(f"the converter needs {error.name}: pip install 'penstock[tensorflow]'") from error
    except Exception as error:  # converters fail in as many ways as there are; the original is served then
        said = (str(error).splitlines() or [""])[0][:300]
        raise CannotConvert(f"tf2onnx failed with {type(error).__name__}: {said}") from error
    versions = {name: importlib.metadata.version(name) for name in ("onnx", "penstock", "tf2onnx")}
    return [Candidate(name="tf2onnx", model=model, converter={**versions, "tensorflow": tf.__version__})]


def _by_tf2onnx(program: Program, signature: Signature) -> bytes:
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    specs = [_spec(field) for field in signature.inputs]
    names = [field.name for field in signature.inputs]

    def call(*values: Any) -> dict[str, Any]:
        return dict(program.call(dict(zip(names, values, strict=True))))

    function = tf.function(call, input_signature=specs)
    model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=_OPSET)
    given = {value.name for value in model.graph.output}
    if {value.name for value in model.graph.input} != set(names) or given != {f.name for f in signature.outputs}:
        raise CannotConvert("tf2onnx gave inputs or outputs other names")
    data: bytes = model.SerializeToString()
    return data


def _spec(field: Field) -> Any:
    shape = [None if size < 0 else size for size in field.shape]
    return tf.TensorSpec(shape, tf.as_dtype(DTYPES[field.datatype]), name=field.name)
