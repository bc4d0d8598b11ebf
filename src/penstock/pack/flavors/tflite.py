"""TensorFlow Lite models, which say what they take; they are made to be small, and are served as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from penstock.core.errors import Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors, datatype_of
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.flavors.declaring import declared_by
from penstock.pack.original import Description
from penstock.runtime.frameworks.tflite import TfliteModel, tensors_of
from penstock.runtime.frameworks.tflite import answer as answers


def describe(interpreter: Any) -> Description:
    """The interpreter's own inputs, and what it gives for made-up ones."""
    takes, _ = tensors_of(interpreter)
    inputs = tuple(_field(name, detail) for name, detail in takes.items())
    return Description(
        runtime="tflite",
        kind="tflite",
        declared=declared_by(inputs, lambda arrays: answers(interpreter, arrays)),
        distributions=distributions_of({"ai_edge_litert", "numpy"}),
    )


def _field(name: str, detail: Mapping[str, Any]) -> Field:
    shape = detail.get("shape_signature")
    if shape is None or not len(shape):
        shape = detail["shape"]
    try:
        datatype = datatype_of(np.empty(0, detail["dtype"]))
    except (KeyError, TypeError, ValueError):
        raise Unsupported("unsupported-graph", f"{name!r} of the model has no datatype in the protocol") from None
    return Field(name=name, datatype=datatype, shape=tuple(int(size) for size in shape))


def answer(interpreter: Any, x: Any) -> Tensors:
    """Never asked: the model says what it takes."""
    raise Unsupported("unsupported-graph", "a TFLite model is not probed")


def adapt(interpreter: Any, options: Mapping[str, Any], signature: Signature) -> TfliteModel:
    """The adapter that will serve it."""
    return TfliteModel(interpreter, options, signature)


def convert(interpreter: Any, signature: Signature) -> list[Candidate]:
    """Never: it is a compiled form already."""
    raise CannotConvert("TFLite models are served as they are, by LiteRT")
