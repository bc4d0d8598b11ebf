"""Builds an ONNX graph whose bytes are a function of what was put in.

Names are numbers in the order of building, equal operations and equal constants exist once, what no output needs is
left out, and attributes are sorted: two processes with different hash seeds write the same bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.pack.convert.candidate import CannotConvert
from penstock.pack.convert.values import TEXT, Value

# Old enough for every ONNX Runtime since 1.20, new enough for Equal and Where on strings.
OPSET = 21
IR_VERSION = 10
ELEMENT_TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    TEXT: TensorProto.STRING,
}
_ML_OPERATORS = {"LabelEncoder", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"}


class NeedsVersion4(Exception):
    """A step needs tree operators that ended with version 4 of `ai.onnx.ml`; build the graph again for that one."""


class Node(msgspec.Struct, frozen=True):
    """One operation, before it has ONNX names."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    domain: str


class Graph:
    """A graph under construction, for one version of the `ai.onnx.ml` operators.

    Version 5 has trees in double from input to output; leaves of more than one value exist up to version 4 only.
    """

    def __init__(self, ml_version: int) -> None:
        self.ml_version = ml_version
        self._inputs: dict[str, onnx.ValueInfoProto] = {}
        self._nodes: list[Node] = []
        self._constants: dict[str, Any] = {}
        self._known: dict[tuple[Any, ...], tuple[str, ...]] = {}
        self._count = 0

    def input(self, name: str, dtype: str, width: int, *, nullable: bool = False) -> Value:
        """Declare an input of [rows, width]."""
        if not name:
            raise CannotConvert("a column without a name cannot be an input")
        # A name of our own until the end: a column may be called as one of the numbers.
        own = self._name()
        self._inputs[own] = helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], ["N", width])
        return Value(own, dtype, width, nullable)

    def constant(self, array: Any) -> str:
        """The name of a constant tensor; text goes in as an object array."""
        array = np.asarray(array)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape))
        key = ("constant", hashlib.sha256(tensor.SerializeToString(deterministic=True)).digest())
        if key not in self._known:
            self._known[key] = (name := self._name(),)
            tensor.name = name
            self._constants[name] = tensor
        return self._known[key][0]

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation with one output, or find the equal one already there; returns the output's name."""
        return self.ops(kind, *inputs, count=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, count: int, **attributes: Any) -> tuple[str, ...]:
        """Add an operation with `count` outputs, or find the equal one already there."""
        key = (kind, inputs, tuple(sorted((name, _frozen(value)) for name, value in attributes.items())))
        if key not in self._known:
            self._known[key] = tuple(self._name() for _ in range(count))
            domain = "ai.onnx.ml" if kind in _ML_OPERATORS else ""
            self._nodes.append(Node(kind, inputs, self._known[key], attributes, domain))
        return self._known[key]

    def include(self, model: onnx.ModelProto, feeds: dict[str, str]) -> list[str]:
        """Take in another graph, its inputs fed by the values named; returns the names of its outputs."""
        names = dict(feeds)
        for tensor in model.graph.initializer:
            names[tensor.name] = self.constant(numpy_helper.to_array(tensor))
        for node in model.graph.node:
            if any(_outer_names(attribute.g) for attribute in node.attribute):
                raise CannotConvert("a borrowed graph has a branch that reads names from outside")
            outputs = tuple(self._name() if output else "" for output in node.output)
            names.update(zip(node.output, outputs, strict=True))
            attributes = {attribute.name: _own_names(attribute) for attribute in node.attribute}
            inputs = tuple(names[name] if name else "" for name in node.input)
            self._nodes.append(Node(node.op_type, inputs, outputs, attributes, node.domain))
        return [names[output.name] for output in model.graph.output]

    def build(self, outputs: dict[str, Value]) -> bytes:
        """The serialized model with these outputs."""
        inputs = {own: info.name for own, info in self._inputs.items()}
        if clash := sorted(set(inputs.values()) & outputs.keys()):
            raise CannotConvert(f"a column is called {clash[0]!r}, which is the name of an output")
        nodes = self._needed([value.name for value in outputs.values()])
        names = _Names(inputs, outputs, nodes)
        protos = [_node(node, names) for node in nodes]
        for copied, source in names.copies:
            protos.append(helper.make_node("Identity", [source], [copied]))
        used = {name for node in nodes for name in node.inputs} | {value.name for value in outputs.values()}
        constants = []
        for name, tensor in self._constants.items():
            if name in used:
                tensor.name = names[name]
                constants.append(tensor)
        graph = helper.make_graph(
            protos,
            "penstock",
            list(self._inputs.values()),
            [_output(name, value) for name, value in outputs.items()],
            constants,
        )
        domains = {node.domain for node in nodes}
        imports = [helper.make_opsetid("", OPSET)]
        if "ai.onnx.ml" in domains:
            imports.append(helper.make_opsetid("ai.onnx.ml", self.ml_version))
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="penstock")
        return bytes(model.SerializeToString(deterministic=True))

    def _needed(self, wanted: list[str]) -> list[Node]:
        alive = set(wanted)
        kept: list[Node] = []
        for node in reversed(self._nodes):
            if alive.intersection(node.outputs):
                kept.append(node)
                alive.update(node.inputs)
        return kept[::-1]

    def _name(self) -> str:
        self._count += 1
        return f"#{self._count}"


class _Names:
    """From building names to final ones: outputs get theirs, the rest are numbered anew without clashing."""

    def __init__(self, inputs: dict[str, str], outputs: dict[str, Value], nodes: list[Node]) -> None:
        prefix = "v"
        while any(name.startswith(prefix) for name in (*inputs.values(), *outputs)):
            prefix += "_"
        self._names = dict(inputs)
        self._prefix = prefix
        self.copies: list[tuple[str, str]] = []
        produced = {name for node in nodes for name in node.outputs}
        for name, value in outputs.items():
            if value.name in produced and value.name not in self._names:
                self._names[value.name] = name
            else:
                self.copies.append((name, self[value.name]))

    def __getitem__(self, name: str) -> str:
        if not name:
            return name
        if name not in self._names:
            self._names[name] = f"{self._prefix}{len(self._names)}"
        return self._names[name]


def _node(node: Node, names: _Names) -> onnx.NodeProto:
    proto = helper.make_node(
        node.kind, [names[name] for name in node.inputs], [names[name] for name in node.outputs], domain=node.domain
    )
    for name in sorted(node.attributes):
        value = node.attributes[name]
        if isinstance(value, onnx.AttributeProto):
            proto.attribute.append(value)
        else:
            proto.attribute.append(helper.make_attribute(name, _plain(value)))
    return proto


def _plain(value: Any) -> Any:
    return numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value


def _own_names(attribute: onnx.AttributeProto) -> onnx.AttributeProto:
    """A graph inside a node, with names numbered in order: skl2onnx makes some of memory addresses."""
    if attribute.type != onnx.AttributeProto.GRAPH:
        return attribute
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    graph, names = copy.g, {"": ""}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"b{len(names)}")

    graph.name = attribute.name
    for named in (*graph.input, *graph.initializer, *graph.output):
        named.name = renamed(named.name)
    for node in graph.node:
        node.name, node.doc_string = "", ""
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    del graph.value_info[:]
    return copy


def _outer_names(graph: onnx.GraphProto) -> set[str]:
    """What a graph inside a node reads from around it, where we would have renamed it."""
    own = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    own |= {name for node in graph.node for name in node.output}
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in graph.node for attribute in node.attribute):
        raise CannotConvert("a borrowed graph has branches inside branches")
    return {name for node in graph.node for name in node.input} - own


def _frozen(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return hashlib.sha256(numpy_helper.from_array(value).SerializeToString(deterministic=True)).digest()
    return tuple(value) if isinstance(value, list) else value


def _output(name: str, value: Value) -> onnx.ValueInfoProto:
    shape: list[str | int | None] = ["N", value.width] if value.width else ["N"]
    return helper.make_tensor_value_info(name, ELEMENT_TYPES[value.dtype], shape)
