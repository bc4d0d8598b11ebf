"""Only operators that ONNX Runtime brings along, at versions it knows."""

import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from penstock.pack.convert import uses_builtin_operators


def _model(nodes, imports, functions=()):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, [1])], [info("y", TensorProto.FLOAT, [1])])
    opsets = [helper.make_opsetid(*pair) for pair in imports]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions)).SerializeToString()


NODE = helper.make_node("Identity", ["x"], ["y"])
FOREIGN = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")


def test_standard_operators():
    assert uses_builtin_operators(_model([NODE], [("", 21)]))
    assert uses_builtin_operators(_model([NODE], [("ai.onnx", 21), ("ai.onnx.ml", 5)]))


def test_another_domain_or_a_version_from_the_future():
    assert not uses_builtin_operators(_model([FOREIGN], [("", 21), ("com.microsoft", 1)]))
    assert not uses_builtin_operators(_model([FOREIGN], [("", 21)]))
    assert not uses_builtin_operators(_model([NODE], [("", 999)]))
    assert not uses_builtin_operators(_model([NODE], [("", 21), ("ai.onnx.ml", 99)]))


def test_a_foreign_operator_inside_a_branch_or_a_function():
    info = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    branch = helper.make_graph([helper.make_node("Custom", [], ["y"], domain="mine")], "b", [], [info])
    condition = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    assert not uses_builtin_operators(_model([condition], [("", 21)]))
    call = helper.make_node("Own", ["x"], ["y"], domain="mine")
    opsets = [helper.make_opsetid("", 21)]
    own = helper.make_function("mine", "Own", ["x"], ["y"], [FOREIGN], opsets)
    assert not uses_builtin_operators(_model([call], [("", 21), ("mine", 1)], [own]))


def test_bytes_that_are_no_model():
    with pytest.raises(DecodeError):
        uses_builtin_operators(b"\xff\xff\xff not a model")
