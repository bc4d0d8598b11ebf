"""ONNX graphs, which say themselves what they take and give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.bundle.manifest import Artifact
from penstock.core.errors import InvalidInput, PenstockError, Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Tensors
from penstock.pack.describing import distributions_of
from penstock.pack.original import Description
from penstock.runtime.frameworks import onnx as onnx_framework
from penstock.runtime.ort import onnxruntime as ort

# ONNX Runtime's names of element types, as they stand in `tensor(...)`.
_DATATYPES = {
    "bool": "BOOL", "string": "BYTES", "float16": "FP16", "float": "FP32", "double": "FP64",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def describe(path: Path) -> Description:
    """The graph's own signature; raises InvalidInput("damaged-model") and Unsupported("unsupported-graph")."""
    ort.set_default_logger_severity(4)
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has one exception class per status, with no common base to name
        raise _cannot_open(path, str(error)) from None
    takes, gives = session.get_inputs(), session.get_outputs()
    if not takes:
        raise Unsupported("unsupported-graph", f"{path.name} takes no inputs: it always answers the same")
    batched = _rows_vary(takes) and _rows_vary(gives)
    declared = Signature(
        inputs=tuple(_field(value) for value in takes),
        outputs=tuple(_field(value) for value in gives),
        layout="tensors",
        batched=batched,
    )
    producer = session.get_modelmeta()
    return Description(
        runtime="onnx",
        kind="onnx",
        declared=declared,
        parameters={"producer": producer.producer_name, "graph": producer.graph_name},
        distributions=distributions_of({"onnxruntime", "numpy"}),
    )


def _cannot_open(path: Path, said: str) -> PenstockError:
    # Its messages begin with where in its own source they were raised, and end with the reason.
    reason = said[-300:]
    if any(sign in said for sign in ("NOT_IMPLEMENTED", "opset", "Opset", "IR version", "not a registered")):
        return Unsupported(
            "unsupported-graph",
            f"ONNX Runtime {ort.__version__} cannot run {path.name}: {reason}",
            hint="export the graph with an older opset, or upgrade onnxruntime",
        )
    return InvalidInput("damaged-model", f"ONNX Runtime cannot open {path.name}: {reason}")


def _rows_vary(values: list[Any]) -> bool:
    """Whether every first axis is variable, and under one name where the graph names it."""
    if not all(value.shape and not isinstance(value.shape[0], int) for value in values):
        return False
    return len({value.shape[0] for value in values if value.shape[0]}) <= 1


def _field(value: Any) -> Field:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _DATATYPES:
        raise Unsupported(
            "unsupported-graph",
            f"{value.name!r} of the graph is {value.type}, which has no datatype in the protocol",
            hint="cast it inside the graph; a map or sequence of probabilities is turned off with zipmap=False",
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return Field(name=value.name, datatype=_DATATYPES[kind], shape=shape)


def answer(path: Path, x: Any) -> Tensors:
    """Never asked: a graph says what it gives."""
    raise Unsupported("unsupported-graph", "an ONNX graph is not probed")


def adapt(path: Path, options: Mapping[str, Any], signature: Signature) -> onnx_framework.OnnxModel:
    """The adapter that will serve it."""
    artifact = Artifact(path=path.name, runtime="onnx", serialization="onnx", options=dict(options))
    return onnx_framework.load(path, artifact, signature)
