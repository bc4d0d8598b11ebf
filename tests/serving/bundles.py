"""Small real bundles for the node's tests, sealed as packing seals them."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from penstock.bundle.bundle import seal
from penstock.bundle.manifest import Artifact, Batching, Evidence, Golden, Manifest
from penstock.core.signature import Field, Signature
from penstock.core.tensors import DTYPES
from penstock.runtime import golden
from penstock.runtime.environment import _locked, lock_current

ELEMENTS = {
    "BOOL": TensorProto.BOOL, "BYTES": TensorProto.STRING,
    "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    **{f"{sign}INT{bits}": getattr(TensorProto, f"{sign}INT{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
}  # fmt: skip
ROWS = 4
# Waits for a file with a row that begins with 7: fill in the `folder`.
SLOW = """
import pathlib, time

class Model:
    def predict(self, x):
        while x[0, 0] == 7 and not pathlib.Path({folder!r}, "go-on").exists():
            pathlib.Path({folder!r}, "begun").touch()
            time.sleep(0.01)
        return x.sum(axis=1).astype('float64')
"""


def seal_bundle(
    directory, signature, artifact, inputs, outputs, *, name="model", batched=True, deterministic=True, pins=""
):
    """Seal `directory`, which already holds the model's files, with one golden call."""
    golden.write(directory / "golden.bin", [golden.GoldenCall(inputs, outputs)])
    requirements, environment = lock_current(["numpy"])
    if pins:
        requirements, environment = _locked([*requirements.splitlines(), *pins.splitlines()], wheels="")
    (directory / "requirements.txt").write_text(requirements)
    rows = len(next(iter(inputs.values()))) if signature.batched else 0
    draft = Manifest(
        format=1, name=name, kind=artifact.runtime, signature=signature, files={}, original=artifact, served=artifact,
        builtin_operators=artifact.runtime == "onnx", evidence=Evidence(converted=False, reason="served as it is"),
        batching=Batching(allowed=batched and signature.batched, reason="rows agree"),
        golden=Golden(path="golden.bin", rows=rows, calls=0 if signature.batched else 1, deterministic=deterministic),
        environment=environment,
    )  # fmt: skip
    return seal(directory, draft)


def onnx_bundle(directory, signature, nodes, inputs, *, initializers=(), **rules):
    """A bundle of an ONNX graph whose inputs and outputs are the signature's."""
    directory.mkdir(parents=True)
    graph = helper.make_graph(
        nodes,
        "graph",
        [_value(f) for f in signature.inputs],
        [_value(f) for f in signature.outputs],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, directory / "model.onnx")
    session = ort.InferenceSession(directory / "model.onnx", providers=["CPUExecutionProvider"])
    names = [field.name for field in signature.outputs]
    outputs = dict(zip(names, session.run(names, inputs), strict=True))
    artifact = Artifact(path="model.onnx", runtime="onnx", serialization="onnx")
    return seal_bundle(directory, signature, artifact, inputs, outputs, **rules)


def _value(field):
    shape = [
        "rows" if size == -1 and axis == 0 else None if size == -1 else size for axis, size in enumerate(field.shape)
    ]
    return helper.make_tensor_value_info(field.name, ELEMENTS[field.datatype], shape)


def some(datatype, shape, seed=1):
    """Seeded values of a datatype, its extremes among them."""
    random, count = np.random.default_rng(seed), int(np.prod(shape))
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        out = np.empty(count, object)
        out[:] = [f"text {number} ü" for number in range(count)]
    elif datatype == "BOOL":
        out = random.integers(0, 2, count).astype(bool)
    elif dtype.kind == "f":
        out = random.normal(size=count).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        out = random.integers(limits.min, limits.max, count, dtype=dtype, endpoint=True)
        out[:2] = limits.min, limits.max
    return out.reshape(shape)


def identity(directory, datatype, shape=(-1, 2)):
    """`y` is `x`."""
    signature = Signature(
        inputs=(Field(name="x", datatype=datatype, shape=shape),),
        outputs=(Field(name="y", datatype=datatype, shape=shape),),
        layout="tensors",
        batched=shape[:1] == (-1,),
    )
    inputs = {"x": some(datatype, tuple(ROWS if size == -1 else size for size in shape))}
    return onnx_bundle(directory, signature, [helper.make_node("Identity", ["x"], ["y"])], inputs)


def summing(directory, offset, **rules):
    """`predictions` is the sum of a row's four numbers plus `offset`: an answer tells its version and its row."""
    signature = Signature(
        inputs=(Field(name="x", datatype="FP32", shape=(-1, 4)),),
        outputs=(Field(name="predictions", datatype="FP32", shape=(-1,)),),
        layout="matrix",
    )
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0),
        helper.make_node("Add", ["sum", "offset"], ["predictions"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [offset]),
    ]
    return onnx_bundle(directory, signature, nodes, {"x": some("FP32", (ROWS, 4))}, initializers=constants, **rules)


def table(directory):
    """Columns in, columns out: a nullable float, an integer, a closed category, a boolean."""
    columns = (
        Field(name="income", datatype="FP64", shape=(-1,), nullable=True),
        Field(name="age", datatype="INT64", shape=(-1,)),
        Field(name="city", datatype="BYTES", shape=(-1,), categories=("Bern", "Oslo", "Rome"), closed=True),
        Field(name="member", datatype="BOOL", shape=(-1,)),
        Field(name="ratio", datatype="FP32", shape=(-1,)),
    )
    outputs = tuple(Field(name=f"{field.name}_out", datatype=field.datatype, shape=(-1,)) for field in columns)
    signature = Signature(inputs=columns, outputs=outputs, layout="table")
    inputs = {field.name: some(field.datatype, (3,)) for field in columns}
    inputs["city"] = np.array(["Bern", "Oslo", "Rome"], object)
    nodes = [helper.make_node("Identity", [field.name], [f"{field.name}_out"]) for field in columns]
    return onnx_bundle(directory, signature, nodes, inputs)


def two_inputs(directory):
    """`difference` is `a - b`: an answer to swapped inputs is another one. `total` is a second output."""
    fields = tuple(Field(name=name, datatype="FP32", shape=(-1,)) for name in ("a", "b", "difference", "total"))
    signature = Signature(inputs=fields[:2], outputs=fields[2:], layout="tensors")
    inputs = {"a": some("FP32", (ROWS,)), "b": some("FP32", (ROWS,), seed=2)}
    nodes = [helper.make_node("Sub", ["a", "b"], ["difference"]), helper.make_node("Add", ["a", "b"], ["total"])]
    return onnx_bundle(directory, signature, nodes, inputs)


def python_bundle(directory, source, *, outputs=None, deterministic=True, pins="", datatype="FP32"):
    """A Python class `Model`; its golden rows expect `outputs`, by default each row's sum. `pins` join its lock."""
    directory.mkdir(parents=True)
    (directory / "model.py").write_text(source)
    signature = Signature(
        inputs=(Field(name="x", datatype=datatype, shape=(-1, 4)),),
        outputs=(Field(name="predictions", datatype="FP64", shape=(-1,)),),
        layout="matrix",
    )
    inputs = {"x": some(datatype, (ROWS, 4))}
    expected = {"predictions": inputs["x"].sum(axis=1).astype(np.float64)} if outputs is None else outputs
    artifact = Artifact(path="model.py", runtime="python", serialization="source", entry="Model")
    return seal_bundle(directory, signature, artifact, inputs, expected, deterministic=deterministic, pins=pins)
