"""TensorFlow Lite models, converted on the spot by TensorFlow, run by LiteRT."""

import numpy as np
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import InvalidInput, Unsupported
from penstock.pack import pack

pytest.importorskip("ai_edge_litert")
tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.layers.Input((4,), name="x"), keras.layers.Dense(3, activation="softmax")])


@pytest.fixture(scope="module")
def file(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "net.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(net).convert())
    return path


@pytest.mark.parametrize("sample", [None, ROWS], ids=["no sample", "sample"])
def test_it_is_served_as_it_is(net, file, sample, tmp_path):
    manifest, model = served(pack(file, sample, name="m", out=tmp_path / "out"))
    assert (manifest.kind, manifest.served.runtime, manifest.served.path) == (
        "tflite", "tflite", "original/model.tflite",
    )  # fmt: skip
    assert manifest.batching.allowed
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.inputs] == [("x", "FP32", (-1, 4))]
    for rows in (1, 7, 40, 7):
        answers = model.run({"x": ROWS[:rows]})
        assert np.allclose(answers["output_0"], net(ROWS[:rows]).numpy(), atol=1e-5)


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    module, row = tf.Module(), tf.TensorSpec((None, 3), tf.float32)
    module.both = tf.function(lambda a, b: {"total": a + b, "difference": a - b}, input_signature=[row, row])
    tf.saved_model.save(module, tmp_path / "two", signatures={"serving_default": module.both})
    (tmp_path / "two.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "two")).convert())
    manifest, model = served(pack(tmp_path / "two.tflite", name="m", out=tmp_path / "out"))
    assert {field.name for field in manifest.signature.outputs} == {"total", "difference"}
    answers = model.run({"a": ROWS[:5, :3], "b": ROWS[5:10, :3]})
    assert np.allclose(answers["total"], ROWS[:5, :3] + ROWS[5:10, :3])
    assert np.allclose(answers["difference"], ROWS[:5, :3] - ROWS[5:10, :3])


def test_what_serves_it_is_not_tensorflow(file, tmp_path):
    pack(file, name="m", out=tmp_path / "out")
    names = {line.partition("==")[0] for line in (tmp_path / "out" / "requirements.txt").read_text().splitlines()}
    assert "ai-edge-litert" in names
    assert not {name for name in names if name.startswith("tensorflow")}


def test_a_custom_operator_is_refused_by_name(tmp_path):
    function = tf.function(lambda x: tf.raw_ops.Erfinv(x=x), input_signature=[tf.TensorSpec((None, 4))])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.allow_custom_ops = True
    (tmp_path / "odd.tflite").write_bytes(converter.convert())
    with pytest.raises(Unsupported, match="Erfinv"):
        pack(tmp_path / "odd.tflite", name="m", out=tmp_path / "out")


def test_a_damaged_file_is_refused(file, tmp_path):
    (tmp_path / "cut.tflite").write_bytes(file.read_bytes()[:300])
    with pytest.raises(InvalidInput) as caught:
        pack(tmp_path / "cut.tflite", name="m", out=tmp_path / "out")
    assert caught.value.code == "damaged-model"
