"""TensorFlow Serving's own stubs, as they are, against a real node."""

import numpy as np
import pytest
from tests.serving.bundles import ELEMENTS, some

tf = pytest.importorskip("tensorflow")
grpc = pytest.importorskip("grpc")
apis = pytest.importorskip("tensorflow_serving.apis")
pytestmark = pytest.mark.filterwarnings("ignore")

from tensorflow_serving.apis import (  # noqa: E402 - only where the package is
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

LIMIT_S = 30
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def channel(node):
    with grpc.insecure_channel(f"127.0.0.1:{node.settings.grpc_port}", OPTIONS) as found:
        yield found


@pytest.fixture(scope="module")
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture(scope="module")
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(model, **inputs):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    for name, values in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    return made


def refused(method, message):
    """(status, text) of a call that fails."""
    with pytest.raises(grpc.RpcError) as failed:
        method(message, timeout=LIMIT_S)
    return failed.value.code(), failed.value.details()


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
def test_every_datatype(predictions, datatype):
    values = some(datatype, (3, 2))
    answer = predictions.Predict(request(f"same-{datatype}", x=values), timeout=LIMIT_S)
    got = tf.make_ndarray(answer.outputs["y"])
    if datatype == "BYTES":
        assert [text.decode() for text in got.ravel()] == list(values.ravel())
    else:
        assert got.dtype == values.dtype
        assert np.array_equal(got, values)
    assert got.shape == (3, 2)


def test_several_inputs_and_chosen_outputs(predictions):
    a, b = some("FP32", (3,)), some("FP32", (3,), seed=2)
    answer = predictions.Predict(request("pair", a=a, b=b), timeout=LIMIT_S)
    assert {name: tf.make_ndarray(proto).tolist() for name, proto in answer.outputs.items()} == {
        "total": (a + b).tolist(),
        "difference": (a - b).tolist(),
    }
    chosen = request("pair", a=a, b=b)
    chosen.output_filter.append("total")
    assert list(predictions.Predict(chosen, timeout=LIMIT_S).outputs) == ["total"]


def test_versions(predictions):
    asked = request("sum", x=np.ones((2, 4), np.float32))
    asked.model_spec.version.value = 2
    answer = predictions.Predict(asked, timeout=LIMIT_S)
    assert tf.make_ndarray(answer.outputs["predictions"]).tolist() == [204.0, 204.0]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("sum", 2)
    assert answer.model_spec.signature_name == "serving_default"


def test_metadata(predictions):
    asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name = "sum"
    answer = predictions.GetModelMetadata(asked, timeout=LIMIT_S)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    signature = found.signature_def["serving_default"]
    assert {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()} == {"x": tf.float32}
    assert [size.size for size in signature.inputs["x"].tensor_shape.dim] == [-1, 4]
    assert list(signature.outputs) == ["predictions"]


def test_status(models):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "sum"
    states = models.GetModelStatus(asked, timeout=LIMIT_S).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert {(one.version, one.state, one.status.error_code) for one in states} == {(1, available, 0), (2, available, 0)}
    asked.model_spec.version.value = 2
    assert [one.version for one in models.GetModelStatus(asked, timeout=LIMIT_S).model_version_status] == [2]


def test_errors_are_told(predictions, models):
    unknown, invalid = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT
    row = np.ones((1, 4), np.float32)
    for asked, status, says in (
        (request("none", x=row), unknown, "no endpoint"),
        (request("sum", y=row), invalid, "missing 'x'"),
        (request("sum", x=row.astype(np.int64)), invalid, "INT64"),
        (request("sum", x=row[:, :3]), invalid, "shape"),
        (request("sum", x=np.array([["a"] * 4])), invalid, "BYTES"),
        (request("sum"), invalid, "x"),
    ):
        code, text = refused(predictions.Predict, asked)
        assert code is status
        assert says in text
    missing = get_model_status_pb2.GetModelStatusRequest()
    missing.model_spec.name = "none"
    assert refused(models.GetModelStatus, missing)[0] is unknown
    unread = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["something"])
    unread.model_spec.name = "sum"
    assert refused(predictions.GetModelMetadata, unread)[0] is invalid
