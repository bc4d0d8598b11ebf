"""Whether a model uses nothing but what ONNX Runtime brings along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx

_DOMAINS = {"": "", "ai.onnx": "", "ai.onnx.ml": "ai.onnx.ml"}


def uses_builtin_operators(model: bytes) -> bool:
    """Whether all operators are of `ai.onnx` and `ai.onnx.ml`, at versions the installed ONNX Runtime knows.

    Such a model runs no code of its own. Raises `google.protobuf.message.DecodeError` if the bytes are no model.
    """
    proto = onnx.load_model_from_string(model)
    known = _known_versions()
    for opset in proto.opset_import:
        if _DOMAINS.get(opset.domain) is None or opset.version > known[_DOMAINS[opset.domain]]:
            return False
    own = {(function.domain, function.name) for function in proto.functions}
    nodes = [*_nodes(proto.graph.node)]
    for function in proto.functions:
        nodes += _nodes(function.node)
    return all(node.domain in _DOMAINS or (node.domain, node.op_type) in own for node in nodes)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nodes(graph.node)


def _known_versions() -> dict[str, int]:
    from penstock.runtime.ort import onnxruntime

    newest = {"": 0, "ai.onnx.ml": 0}
    for schema in onnxruntime.capi._pybind_state.get_all_operator_schema():
        if schema.domain in newest:
            newest[schema.domain] = max(newest[schema.domain], schema.since_version)
    return newest
