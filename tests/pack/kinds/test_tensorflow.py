"""SavedModels and Keras models, made on the spot."""

import zipfile

import numpy as np
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import InvalidInput, Refused, Unsupported
from penstock.pack import pack

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = np.random.default_rng(2).normal(size=(40, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.layers.Input((4,), name="x"),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def keras_file(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "net.keras"
    net.save(path)
    return path


@pytest.fixture(scope="module")
def saved_model(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net"
    net.export(path, verbose=False)
    return path


@pytest.mark.parametrize("sample", [None, ROWS], ids=["no sample", "sample"])
def test_a_keras_file_becomes_onnx(net, keras_file, sample, tmp_path):
    manifest, model = served(pack(keras_file, sample, name="m", out=tmp_path / "out"))
    assert manifest.kind == "keras.Sequential"
    assert (manifest.original.runtime, manifest.served.runtime, manifest.builtin_operators) == (
        "tensorflow", "onnx", True,
    )  # fmt: skip
    assert manifest.evidence.converter["form"] == "tf2onnx"
    assert manifest.batching.allowed
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.inputs] == [("x", "FP32", (-1, 4))]
    assert np.allclose(model.run({"x": ROWS[:5]})["output"], net(ROWS[:5]).numpy(), atol=1e-5)
    assert "tensorflow" not in (tmp_path / "out" / "requirements.txt").read_text()


def test_a_live_keras_model(net, tmp_path):
    manifest, _ = served(pack(net, name="m", out=tmp_path / "out"))
    assert (manifest.kind, manifest.served.runtime) == ("keras.Sequential", "onnx")


def test_an_unpacked_keras_file_is_the_same_model(net, keras_file, tmp_path):
    with zipfile.ZipFile(keras_file) as archive:
        archive.extractall(tmp_path / "net")
    manifest, model = served(pack(tmp_path / "net", name="m", out=tmp_path / "out"))
    assert manifest.kind == "keras.Sequential"
    assert np.allclose(model.run({"x": ROWS[:5]})["output"], net(ROWS[:5]).numpy(), atol=1e-5)


def test_a_saved_model_becomes_onnx(net, saved_model, tmp_path):
    manifest, model = served(pack(saved_model, name="m", out=tmp_path / "out"))
    assert (manifest.kind, manifest.served.runtime) == ("tensorflow.SavedModel", "onnx")
    assert np.allclose(model.run({"x": ROWS[:5]})["output_0"], net(ROWS[:5]).numpy(), atol=1e-5)


def test_tensorflow_serves_it_where_the_original_is_asked_for(net, saved_model, tmp_path):
    manifest, model = served(pack(saved_model, name="m", out=tmp_path / "out", convert=False))
    assert (manifest.served.runtime, manifest.served.path) == ("tensorflow", "original/saved_model.pb")
    assert "tensorflow" in (tmp_path / "out" / "requirements.txt").read_text()
    assert np.allclose(model.run({"x": ROWS[:5]})["output_0"], net(ROWS[:5]).numpy(), atol=1e-6)


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None, 2), name="left"), tf.TensorSpec((None, 2), name="right")])
    def both(left, right):
        return {"total": left + right, "apart": tf.norm(left - right, axis=1)}

    module = tf.Module()
    tf.saved_model.save(module, tmp_path / "two", signatures={"serving_default": both})
    manifest, model = served(pack(tmp_path / "two", name="m", out=tmp_path / "out"))
    assert manifest.evidence.converted
    answers = model.run({"left": ROWS[:, :2], "right": ROWS[:, 2:]})
    assert np.allclose(answers["total"], ROWS[:, :2] + ROWS[:, 2:])
    assert np.allclose(answers["apart"], np.linalg.norm(ROWS[:, :2] - ROWS[:, 2:], axis=1), atol=1e-5)


@pytest.mark.parametrize("convert", [True, False], ids=["onnx", "keras"])
def test_the_inputs_and_outputs_of_a_keras_model_keep_their_names(convert, tmp_path):
    a, b = keras.layers.Input((3,), name="first"), keras.layers.Input((3,), name="second")
    keras.Model([a, b], [keras.layers.Add()([a, b]), keras.layers.Subtract()([a, b])]).save(tmp_path / "two.keras")
    _, model = served(pack(tmp_path / "two.keras", name="m", out=tmp_path / "out", convert=convert))
    answers = model.run({"first": ROWS[:5, :3], "second": ROWS[5:10, :3]})
    assert np.allclose(answers["output_0"], ROWS[:5, :3] + ROWS[5:10, :3], atol=1e-6)
    assert np.allclose(answers["output_1"], ROWS[:5, :3] - ROWS[5:10, :3], atol=1e-6)


def test_a_model_of_text_is_served_by_tensorflow(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def shout(text):
        return {"loud": tf.strings.upper(text, encoding="utf-8"), "length": tf.strings.length(text)}

    tf.saved_model.save(tf.Module(), tmp_path / "shout", signatures={"serving_default": shout})
    manifest, model = served(pack(tmp_path / "shout", name="m", out=tmp_path / "out"))
    assert manifest.served.runtime == "tensorflow"
    assert "text" in manifest.evidence.reason
    answers = model.run({"text": np.array(["so", "blå"], object)})
    assert answers["loud"].tolist() == ["SO", "BLÅ"]
    assert answers["length"].tolist() == [2, 4]


def _renamed(saved_model, tmp_path, old, new):
    """The SavedModel with an operator under another name of the same length."""
    import shutil

    shutil.copytree(saved_model, tmp_path / "renamed")
    graph = tmp_path / "renamed" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes().replace(b"\x12" + bytes([len(old)]) + old, b"\x12" + bytes([len(new)]) + new))
    return tmp_path / "renamed"


def test_a_custom_operator_is_refused_by_name(saved_model, tmp_path):
    folder = _renamed(saved_model, tmp_path, b"MatMul", b"MyGemm")
    with pytest.raises(Unsupported, match="'MyGemm'") as caught:
        pack(folder, name="m", out=tmp_path / "out")
    assert caught.value.code == "unsupported-graph"


def test_an_operator_that_calls_python_is_refused(saved_model, tmp_path):
    folder = _renamed(saved_model, tmp_path, b"MatMul", b"PyFunc")
    with pytest.raises(Refused) as caught:
        pack(folder, name="m", out=tmp_path / "out")
    assert caught.value.code == "model-with-code"


def test_code_in_a_keras_file_is_refused(tmp_path):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(tmp_path / "code.keras")
    with pytest.raises(Refused) as caught:
        pack(tmp_path / "code.keras", name="m", out=tmp_path / "out")
    assert caught.value.code == "model-with-code"


def test_a_layer_of_the_author_s_says_what_to_do(tmp_path):
    class Mine(keras.layers.Layer):
        def call(self, x):
            return x + 1

    keras.Sequential([keras.layers.Input((4,)), Mine()]).save(tmp_path / "mine.keras")
    with pytest.raises(Unsupported, match="Mine") as caught:
        pack(tmp_path / "mine.keras", name="m", out=tmp_path / "out")
    assert "export" in caught.value.hint


@pytest.mark.parametrize("name", ["saved_model.pb", "net.keras"])
def test_a_damaged_file_is_refused(name, tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / name).write_bytes(b"\xff" * 40)
    with pytest.raises(InvalidInput) as caught:
        pack(folder if name.endswith("pb") else folder / name, name="m", out=tmp_path / "out")
    assert caught.value.code == "damaged-model"
