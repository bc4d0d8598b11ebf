"""Which operators a SavedModel asks for, before anything of it is loaded."""

from __future__ import annotations

from pathlib import Path

from penstock.core.errors import InvalidInput, Refused, Unsupported

# These call Python that is not in the model, or write where they like.
_OUTSIDE = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "WriteFile"}


def check_operators(path: Path) -> None:
    """Read the graph at `path`, a saved_model.pb; raise Unsupported with the name of an operator TensorFlow lacks.

    Raises Refused("model-with-code") for an operator that reaches out of the model, InvalidInput("damaged-model").
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise InvalidInput("damaged-model", f"{path.name} is no SavedModel: {error}") from None
    for graph in (meta.graph_def for meta in saved.meta_graphs):
        own = {function.signature.name for function in graph.library.function}
        used = {node.op for node in graph.node}
        used |= {node.op for function in graph.library.function for node in function.node_def}
        for operator in sorted(used - own):
            if operator in _OUTSIDE:
                raise Refused("model-with-code", f"the SavedModel uses {operator}, which reaches out of the model")
            if op_def_registry.get(operator) is None:
                raise Unsupported(
                    "unsupported-graph",
                    f"the SavedModel uses the operator {operator!r}, which TensorFlow does not have",
                    hint="build the model of operators that TensorFlow brings along",
                )
