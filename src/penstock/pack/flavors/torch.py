"""PyTorch programs: `torch.export` archives, which say what they take; TorchScript, which must be shown a sample."""

from __future__ import annotations

import importlib.metadata
import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from penstock.core.errors import Unsupported
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES, Tensors, datatype_of
from penstock.pack.convert import Candidate, CannotConvert
from penstock.pack.describing import distributions_of
from penstock.pack.flavors.declaring import declared_by
from penstock.pack.original import Description
from penstock.runtime.frameworks.torch import TorchModel, callable_of, tensor_of
from penstock.runtime.frameworks.torch import answer as answers

_OPSET = 18


def describe(program: Any) -> Description:
    """The inputs of an exported program, with the axes it was exported to take any length of, and what it gives."""
    torch.set_num_threads(1)
    exported = isinstance(program, torch.export.ExportedProgram)
    declared = None
    if exported:
        call, inputs = callable_of(program), _inputs(program)
        declared = declared_by(inputs, lambda arrays: answers(call, list(arrays.values())))
    return Description(
        runtime="torch",
        kind="torch.export" if exported else f"torch.jit.{getattr(program, 'original_name', 'ScriptModule')}",
        declared=declared,
        distributions=distributions_of({"torch", "numpy"}),
    )


def _inputs(program: Any) -> tuple[Field, ...]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    fields = []
    for name in program.graph_signature.user_inputs:
        value = values.get(name) if isinstance(name, str) else None
        if not isinstance(value, torch.Tensor):
            raise Unsupported(
                "unsupported-graph",
                f"{name!r} of the program is no tensor",
                hint="export a program whose inputs are tensors, without options",
            )
        shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
        fields.append(Field(name=name, datatype=_datatype(name, value.dtype), shape=shape))
    return tuple(fields)


def _datatype(name: str, dtype: Any) -> str:
    try:
        return datatype_of(torch.empty(0, dtype=dtype).numpy())
    except (TypeError, KeyError, ValueError):
        raise Unsupported("unsupported-graph", f"{name!r} of the program is {dtype}, which has no datatype") from None


def answer(program: Any, x: Any) -> Tensors:
    """What TorchScript gives for the sample."""
    if hasattr(x, "columns"):
        raise Unsupported(
            "unsupported-graph",
            "a PyTorch program takes arrays, not a table of columns",
            hint="give the sample as an array or NPZ: table.to_numpy('float32')",
        )
    return answers(program, list(x.values()) if isinstance(x, Mapping) else [x])


def adapt(program: Any, options: Mapping[str, Any], signature: Signature) -> TorchModel:
    """The adapter that would serve it."""
    return TorchModel(program, options, signature)


def convert(program: Any, signature: Signature) -> list[Candidate]:
    """The ONNX form by PyTorch's own exporter; raises CannotConvert with the exporter's first words."""
    # It warns of libraries that the program does not use.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    names = {"input_names": [f.name for f in signature.inputs], "output_names": [f.name for f in signature.outputs]}
    try:
        if isinstance(program, torch.export.ExportedProgram):
            done = torch.onnx.export(program, dynamo=True, opset_version=_OPSET, verbose=False, **names)
            model = done.model_proto.SerializeToString()
        else:
            model = from_script(program, signature, names)
    except ImportError as error:
        raise CannotConvert(f"the exporter needs {error.name}: pip install 'penstock[torch]'") from error
    except Exception as error:  # exporters fail in as many ways as there are; the original is served then
        raise CannotConvert(f"PyTorch's exporter failed with {type(error).__name__}: {_first_line(error)}") from error
    return [Candidate(name="torch.onnx", model=model, converter=versions())]


def from_script(program: Any, signature: Signature, names: dict[str, list[str]]) -> bytes:
    """The ONNX form of TorchScript; the arguments are only shown for their types and ranks."""
    shown = tuple(tensor_of(np.zeros([2 if size < 0 else size for size in f.shape], DTYPES[f.datatype]))
                  for f in signature.inputs)  # fmt: skip
    axes = {
        field.name: {axis: "rows" if axis == 0 else f"{field.name}_{axis}"
                     for axis, size in enumerate(field.shape) if size < 0}
        for field in (*signature.inputs, *signature.outputs)
    }  # fmt: skip
    file = io.BytesIO()
    torch.onnx.export(program, shown, file, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    return file.getvalue()


def versions() -> dict[str, str]:
    """The packages that have a part in a graph that PyTorch exported."""
    return {name: importlib.metadata.version(name) for name in ("onnx", "onnxscript", "penstock", "torch")}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
