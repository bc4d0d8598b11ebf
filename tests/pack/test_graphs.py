"""ONNX graphs: their own signature, with and without a sample, and those that are refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import InvalidInput, NotFound, PenstockError, Refused, Unsupported
from penstock.pack import pack, pack_file
from penstock.runtime import golden
from penstock.runtime.load import load_model


def _graph(path, operators, takes, gives, initializers=()):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in operators],
        "g",
        [value(*one) for one in takes],
        [value(*one) for one in gives],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _packed(path, out, sample=None, **choices):
    packed = pack_file(path, sample, name="m", out=out, **choices)
    bundle = verify_directory(packed.path, packed.digest)
    model = load_model(bundle)
    golden.replay(model, bundle)
    return bundle.manifest, model


F, BF = TensorProto.FLOAT, TensorProto.BFLOAT16


def test_a_graph_says_what_it_takes(tmp_path):
    path = _graph(
        tmp_path / "g.onnx",
        [("Add", ["a", "b"], ["sum"], {}), ("Equal", ["a", "b"], ["same"], {})],
        [("a", F, ["n", 3]), ("b", F, ["n", 3])],
        [("sum", F, ["n", 3]), ("same", TensorProto.BOOL, ["n", 3])],
    )
    manifest, _ = _packed(path, tmp_path / "out")
    assert [(field.name, field.datatype, field.shape) for field in manifest.signature.inputs] == [
        ("a", "FP32", (-1, 3)),
        ("b", "FP32", (-1, 3)),
    ]
    assert [(field.name, field.datatype) for field in manifest.signature.outputs] == [("sum", "FP32"), ("same", "BOOL")]
    assert manifest.signature.layout == "tensors"
    assert manifest.batching.allowed
    assert (manifest.golden.rows, manifest.golden.synthetic, manifest.profile) == (32, True, "")


def test_a_sample_is_cast_like_a_request_and_profiled(tmp_path):
    path = _graph(tmp_path / "g.onnx", [("Neg", ["a"], ["b"], {})], [("a", F, ["n", 2])], [("b", F, ["n", 2])])
    sample = np.random.default_rng(0).normal(size=(50, 2))
    manifest, model = _packed(path, tmp_path / "out", sample)
    assert not manifest.golden.synthetic
    assert manifest.profile
    assert model.run({"a": sample.astype(np.float32)})["b"].dtype == np.float32


def test_a_live_graph_is_the_same_as_its_file(tmp_path):
    path = _graph(tmp_path / "g.onnx", [("Neg", ["a"], ["b"], {})], [("a", F, ["n", 2])], [("b", F, ["n", 2])])
    digests = {pack(model, name="m", out=tmp_path / str(n)).digest for n, model in enumerate((path, onnx.load(path)))}
    assert len(digests) == 1


def test_a_graph_without_rows_has_calls_and_is_never_batched(tmp_path):
    path = _graph(tmp_path / "g.onnx", [("Neg", ["a"], ["b"], {})], [("a", F, [2, 2])], [("b", F, [2, 2])])
    manifest, _ = _packed(path, tmp_path / "out")
    assert not manifest.signature.batched
    assert not manifest.batching.allowed
    assert (manifest.golden.rows, manifest.golden.calls) == (0, 4)


def test_a_scalar(tmp_path):
    path = _graph(tmp_path / "g.onnx", [("Neg", ["a"], ["b"], {})], [("a", F, [])], [("b", F, [])])
    manifest, _ = _packed(path, tmp_path / "out", {"a": np.array(2.0, np.float32)})
    assert manifest.signature.inputs[0].shape == ()
    assert (manifest.golden.calls, manifest.golden.synthetic) == (1, False)


def test_a_graph_whose_rows_touch_each_other_is_not_batched(tmp_path):
    path = _graph(
        tmp_path / "g.onnx",
        [("ReduceMean", ["a"], ["m"], {"axes": [0], "keepdims": 1}), ("Sub", ["a", "m"], ["b"], {})],
        [("a", F, ["n", 2])],
        [("b", F, ["n", 2])],
    )
    manifest, _ = _packed(path, tmp_path / "out", np.random.default_rng(0).normal(size=(50, 2)))
    assert manifest.signature.batched
    assert not manifest.batching.allowed
    assert "alone" in manifest.batching.reason


def test_a_random_graph_is_not_deterministic(tmp_path):
    path = _graph(
        tmp_path / "g.onnx",
        [("RandomUniformLike", ["a"], ["r"], {}), ("Add", ["a", "r"], ["b"], {})],
        [("a", F, ["n", 2])],
        [("b", F, ["n", 2])],
    )
    manifest, _ = _packed(path, tmp_path / "out")
    assert not manifest.golden.deterministic
    assert not manifest.batching.allowed


@pytest.mark.parametrize(
    ("operators", "takes", "gives"),
    [
        (
            [("Cast", ["a"], ["b"], {"to": TensorProto.BFLOAT16})],
            [("a", F, ["n"])],
            [("b", TensorProto.BFLOAT16, ["n"])],
        ),
        ([("RandomNormal", [], ["b"], {"shape": [2]})], [], [("b", F, [2])]),
    ],
    ids=["bfloat16", "no inputs"],
)
def test_graphs_that_the_protocol_cannot_carry(operators, takes, gives, tmp_path):
    path = _graph(tmp_path / "g.onnx", operators, takes, gives)
    with pytest.raises(Unsupported) as failure:
        pack_file(path, name="m", out=tmp_path / "out")
    assert failure.value.code == "unsupported-graph"


def test_made_up_inputs_that_fail_ask_for_a_sample(tmp_path):
    shape = numpy_helper.from_array(np.array([7, 5, 11], np.int64), "shape")
    path = _graph(
        tmp_path / "g.onnx",
        [("Reshape", ["a", "shape"], ["b"], {})],
        [("a", F, ["k"])],
        [("b", F, [7, 5, 11])],
        [shape],
    )
    with pytest.raises(PenstockError) as failure:
        pack_file(path, name="m", out=tmp_path / "out")
    assert failure.value.code == "sample-refused"
    assert "--sample" in failure.value.hint
    manifest, _ = _packed(path, tmp_path / "out", {"a": np.zeros(385, np.float32)})
    assert manifest.golden.calls == 1


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        ({"z": np.zeros((2, 3), np.float32), "b": np.zeros((2, 3), np.float32)}, "wrong-columns"),
        ({"a": np.zeros((2, 4), np.float32), "b": np.zeros((2, 3), np.float32)}, "wrong-shape"),
        ({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 3), np.float32)}, "unequal-rows"),
        ({"a": np.zeros((2, 3), np.int64), "b": np.full((2, 3), 2**60)}, "inexact-value"),
        ({"a": np.array([["x"]]), "b": np.zeros((1, 3))}, "wrong-shape"),
    ],
)
def test_samples_that_do_not_fit_the_graph(sample, code, tmp_path):
    path = _graph(
        tmp_path / "g.onnx", [("Add", ["a", "b"], ["c"], {})],
        [("a", F, ["n", 3]), ("b", F, ["n", 3])], [("c", F, ["n", 3])],
    )  # fmt: skip
    with pytest.raises(InvalidInput) as failure:
        pack_file(path, sample, name="m", out=tmp_path / "out")
    assert failure.value.code in (code, "wrong-datatype")


@pytest.fixture
def large(tmp_path):
    folder = tmp_path / "given"
    folder.mkdir()
    weights = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "w")
    path = _graph(
        folder / "g.onnx", [("MatMul", ["a", "w"], ["b"], {})], [("a", F, ["n", 2])], [("b", F, ["n", 3])], [weights]
    )
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_weights_beside_the_graph_go_with_it(large, tmp_path):
    manifest, model = _packed(large, tmp_path / "out")
    assert "original/weights.bin" in manifest.files
    assert model.run({"a": np.ones((1, 2), np.float32)})["b"].tolist() == [[3.0, 5.0, 7.0]]


def test_weights_that_are_missing_or_lie_elsewhere(large, tmp_path):
    weights = large.with_name("weights.bin")
    weights.rename(tmp_path / "weights.bin")
    with pytest.raises(NotFound):
        pack_file(large, name="m", out=tmp_path / "out")
    weights.symlink_to(tmp_path / "weights.bin")
    with pytest.raises(Refused):
        pack_file(large, name="m", out=tmp_path / "out")
    for location in ("../weights.bin", "/etc/passwd", "..\\weights.bin"):
        model = onnx.load(large, load_external_data=False)
        (entry,) = [e for e in model.graph.initializer[0].external_data if e.key == "location"]
        entry.value = location
        large.write_bytes(model.SerializeToString())
        with pytest.raises(Refused) as refusal:
            pack_file(large, name="m", out=tmp_path / "out")
        assert refusal.value.code == "unsafe-archive"


@pytest.mark.parametrize("data", [b"", b"nothing", b"\x08\x08"])
def test_files_that_are_no_graph(data, tmp_path):
    (tmp_path / "g.onnx").write_bytes(data)
    with pytest.raises(InvalidInput) as failure:
        pack_file(tmp_path / "g.onnx", name="m", out=tmp_path / "out")
    assert failure.value.code == "damaged-model"
