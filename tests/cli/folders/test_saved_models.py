"""Folders of SavedModels, as TensorFlow writes them, served and followed as they are."""

import socket
import tempfile

import numpy as np
import pytest
from tests.cli.folder_nodes import serving, until

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
pytestmark = pytest.mark.filterwarnings("ignore")

# A version takes two starts of TensorFlow to pack, half a minute where others need the machine, too.
LIMIT_S = 240
ROWS = [[1.0, 2.0], [3.0, 4.0]]


class Times(tf.Module):
    """`y` is the sum of a row times `factor`."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(float(factor))

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def __call__(self, x):
        return {"y": tf.reduce_sum(x, axis=1) * self.factor}


class Shout(tf.Module):
    """Text in capitals: no converter knows how, so TensorFlow itself serves it."""

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def __call__(self, text):
        return {"loud": tf.strings.upper(text)}


def write(base, version, model):
    """A version as exporters write it: beside its place, then renamed."""
    partial = base / f"{version}.partial"
    tf.saved_model.save(model, str(partial), signatures={"serving_default": model.__call__})
    partial.rename(base / str(version))


def with_unknown_operator(base, version, model):
    """The version's graph asks for an operator that nobody brings along."""
    from tensorflow.core.protobuf import saved_model_pb2

    partial = base / f"{version}.partial"
    tf.saved_model.save(model, str(partial), signatures={"serving_default": model.__call__})
    file = partial / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    changed = 0
    for function in saved.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "Mul":
                node.op, changed = "ZorbleTwice", changed + 1
    assert changed
    file.write_bytes(saved.SerializeToString())
    partial.rename(base / str(version))


def told(node, model="m"):
    """The states of a model's versions, and what is said of each."""
    versions = node.ask("GET", f"/v1/models/{model}")[1]["model_version_status"]
    return {one["version"]: (one["state"], one["status"]["error_message"]) for one in versions}


@pytest.fixture
def serve(environ, tmp_path):
    """As elsewhere, with more patience."""
    return lambda *arguments: serving(environ, tmp_path, arguments, limit_s=LIMIT_S)


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    return folder


def predict(node, rows=ROWS, path="m"):
    return node.ask("POST", f"/v1/models/{path}:predict", {"instances": rows})


def test_the_latest_version_is_served_over_rest_and_grpc(serve, base):
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    write(base, 1, Times(1))
    write(base, 2, Times(2))
    with socket.create_server(("127.0.0.1", 0)) as free:
        grpc_port = free.getsockname()[1]
    with serve("--model-base-path", base, "--model-name", "m", "--grpc-port", grpc_port) as node:
        assert node.states() == {"2": "AVAILABLE"}
        assert predict(node) == (200, {"predictions": [6.0, 14.0]})
        assert predict(node, path="m/versions/1")[0] == 404
        asked = predict_pb2.PredictRequest(inputs={"x": tf.make_tensor_proto(ROWS, tf.float32)})
        asked.model_spec.name = "m"
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.Predict(asked, timeout=30)
            assert np.array_equal(tf.make_ndarray(answer.outputs["y"]), [6.0, 14.0])
            assert answer.model_spec.version.value == 2
            write(base, 3, Times(3))
            until(lambda: node.states() == {"3": "AVAILABLE"}, "version 3", LIMIT_S)
            assert stub.Predict(asked, timeout=30).model_spec.version.value == 3
        assert predict(node) == (200, {"predictions": [9.0, 21.0]})


def test_policies_of_a_config_file(serve, base, tmp_path):
    for version in (1, 2, 3):
        write(base, version, Times(version))
    (tmp_path / "models.config").write_text(
        f"""
        model_config_list {{
          config {{
            name: "m" base_path: "{base}"
            model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
            version_labels {{ key: "stable" value: 1 }}
          }}
        }}
        """
    )
    with serve("--model-config-file", "models.config") as node:
        assert until(lambda: len(node.states()) == 2 and node.states(), "both", LIMIT_S) == {
            "1": "AVAILABLE",
            "2": "AVAILABLE",
        }
        assert predict(node) == (200, {"predictions": [6.0, 14.0]})
        assert predict(node, path="m/versions/1") == (200, {"predictions": [3.0, 7.0]})
        assert predict(node, path="m/labels/stable") == (200, {"predictions": [3.0, 7.0]})
        assert predict(node, path="m/versions/3")[0] == 404


def test_an_unknown_operator_is_named_and_the_rest_goes_on(serve, base):
    write(base, 1, Times(1))
    with serve("--model-base-path", base, "--model-name", "m") as node:
        with_unknown_operator(base, 2, Times(2))
        until(lambda: told(node).get("2", ("",))[0] == "END", "the reason", LIMIT_S)
        assert "'ZorbleTwice', which TensorFlow does not have" in told(node)["2"][1]
        assert told(node)["1"][0] == "AVAILABLE"
        assert predict(node) == (200, {"predictions": [3.0, 7.0]})
        write(base, 3, Times(3))
        until(lambda: node.states().get("3") == "AVAILABLE", "version 3", LIMIT_S)
        assert predict(node) == (200, {"predictions": [9.0, 21.0]})


def test_what_no_converter_knows_is_served_by_tensorflow(serve, base, environ):
    write(base, 1, Shout())
    # Not pytest's own: its names are too long for the sockets of model processes.
    with tempfile.TemporaryDirectory(prefix="penstock-") as home:
        environ["PENSTOCK_HOME"] = home
        with serve("--model-base-path", base, "--model-name", "m") as node:
            assert predict(node, ["a", "b c"]) == (200, {"predictions": ["A", "B C"]})
