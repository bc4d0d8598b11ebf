"""TensorFlow Serving's gRPC methods of a real node, by messages of a schema that was written down for them."""

import grpc
import numpy as np
import pytest
from tests.serving.bundles import ELEMENTS, some
from tests.serving.grpc_clients import UNLIMITED, address, call, failure
from tests.serving.nodes import RunningNode, document, endpoint, free_port

from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint
from penstock.protocols.tfserving.grpc_predict import message
from penstock.protocols.tfserving.grpc_tensors import DATATYPES, NUMBERS, Budget, put, tensor_of

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"


@pytest.fixture(scope="module")
def channel(node):
    with grpc.insecure_channel(address(node), UNLIMITED) as found:
        yield found


def request(model="sum", values=((1.0, 2.0, 3.0, 4.0),), name="x", **spec):
    made = message("PredictRequest")(model_spec={"name": model, **spec})
    put(made.inputs[name], np.asarray(values, np.float32))
    return made


def predict(channel, made, **options):
    return call(channel, made, PREDICT, message("PredictResponse"), **options)


def test_predict(channel):
    answer, metadata = predict(channel, request())
    assert list(answer.outputs) == ["predictions"]
    assert list(answer.outputs["predictions"].float_val) == [110.0]
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("sum", 1)
    assert answer.model_spec.signature_name == "serving_default"
    assert metadata["penstock-version"] == "model/1"


@pytest.mark.parametrize(
    ("datatype", "raw"),
    [(datatype, raw) for datatype in sorted(ELEMENTS) for raw in (False, True) if datatype != "BYTES" or not raw],
)
def test_every_datatype(channel, datatype, raw):
    values = some(datatype, (3, 2))
    made = message("PredictRequest")(model_spec={"name": f"same-{datatype}"})
    if raw:
        proto = made.inputs["x"]
        proto.dtype, proto.tensor_content = NUMBERS[datatype], values.tobytes()
        for size in values.shape:
            proto.tensor_shape.dim.add(size=size)
    else:
        put(made.inputs["x"], values)
    answer, _ = predict(channel, made)
    got = tensor_of("y", answer.outputs["y"], Budget())
    assert DATATYPES[answer.outputs["y"].dtype][0] == datatype
    assert np.array_equal(got, values)
    # As the real server does: clients read the values' own field.
    assert not answer.outputs["y"].tensor_content


def test_one_value_for_all(channel):
    made = request(values=((5.0, 0, 0, 0),) * 3)
    del made.inputs["x"].float_val[1:]
    answer, _ = predict(channel, made)
    assert list(answer.outputs["predictions"].float_val) == [120.0] * 3
    del made.inputs["x"].float_val[:]
    answer, _ = predict(channel, made)
    assert list(answer.outputs["predictions"].float_val) == [100.0] * 3


def test_versions_labels_and_filters(channel):
    answer, _ = predict(channel, request(version={"value": 2}))
    assert list(answer.outputs["predictions"].float_val) == [210.0]
    answer, metadata = predict(channel, request(version_label="arm-1"))
    assert (answer.model_spec.version.value, metadata["penstock-reason"]) == (2, "version")
    pair = request("pair", [1.0, 2.0], "a")
    put(pair.inputs["b"], np.array([3, 5], np.float32))
    pair.output_filter.append("difference")
    assert list(predict(channel, pair)[0].outputs) == ["difference"]


def changed(edit):
    made = request()
    edit(made.inputs["x"])
    return made


def filtered():
    made = request()
    made.output_filter.append("none")
    return made


def far(proto):
    proto.tensor_shape.dim[0].size = 2**30


# fmt: off
REFUSED = {
    "no message": (b"\xff", "INVALID_ARGUMENT", "invalid-message"),
    "unknown model": (request("none"), "NOT_FOUND", "unknown-endpoint"),
    "unknown version": (request(version={"value": 9}), "NOT_FOUND", "unknown-version"),
    "unknown label": (request(version_label="none"), "NOT_FOUND", "unknown-label"),
    "unknown signature": (request(signature_name="other"), "INVALID_ARGUMENT", "unknown-signature"),
    "wrong input": (request(name="y"), "INVALID_ARGUMENT", "wrong-inputs"),
    "unknown type": (changed(lambda x: setattr(x, "dtype", 8)), "INVALID_ARGUMENT", "unknown-datatype"),
    "no type": (changed(lambda x: setattr(x, "dtype", 0)), "INVALID_ARGUMENT", "unknown-datatype"),
    "no shape": (changed(lambda x: setattr(x.tensor_shape, "unknown_rank", True)), "INVALID_ARGUMENT", "wrong-shape"),
    "negative": (changed(lambda x: setattr(x.tensor_shape.dim[0], "size", -1)), "INVALID_ARGUMENT", "wrong-shape"),
    "too many": (changed(lambda x: x.float_val.append(1)), "INVALID_ARGUMENT", "wrong-count"),
    "too large": (changed(far), "RESOURCE_EXHAUSTED", "repeated-too-large"),
    "wrong field": (changed(lambda x: x.double_val.append(1)), "INVALID_ARGUMENT", "wrong-contents"),
    "both forms": (changed(lambda x: setattr(x, "tensor_content", bytes(16))), "INVALID_ARGUMENT", "mixed-contents"),
    "unknown output": (filtered(), "INVALID_ARGUMENT", "unknown-output"),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_told(channel, case):
    made, status, code = REFUSED[case]
    assert failure(channel, made, PREDICT)[:2] == (status, code)


def test_metadata(channel):
    made = message("GetModelMetadataRequest")(model_spec={"name": "sum"}, metadata_field=["signature_def"])
    answer, _ = call(channel, made, METADATA, message("GetModelMetadataResponse"))
    assert (answer.model_spec.name, answer.model_spec.version.value) == ("sum", 1)
    assert answer.metadata["signature_def"].type_url.endswith("/tensorflow.serving.SignatureDefMap")
    found = message("SignatureDefMap").FromString(answer.metadata["signature_def"].value)
    signature = found.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["x"].dtype == NUMBERS["FP32"]
    assert [dimension.size for dimension in signature.inputs["x"].tensor_shape.dim] == [-1, 4]
    del made.metadata_field[:]
    assert failure(channel, made, METADATA)[:2] == ("INVALID_ARGUMENT", "unknown-metadata")


def test_status(channel):
    def states(**spec):
        made = message("GetModelStatusRequest")(model_spec={"name": "sum", **spec})
        answer, _ = call(channel, made, STATUS, message("GetModelStatusResponse"))
        return [(one.version, one.state, one.status.error_code) for one in answer.model_version_status]

    assert states() == [(1, 30, 0), (2, 30, 0)]
    assert states(version={"value": 2}) == [(2, 30, 0)]
    assert failure(channel, message("GetModelStatusRequest")(model_spec={"name": "none"}), STATUS)[0] == "NOT_FOUND"


def test_a_model_that_could_not_be_loaded(tmp_path, summing_1):
    node = RunningNode(tmp_path, grpc_port=free_port())
    digest = "sha256:" + 64 * "0"
    nowhere = Arm(name="main", version="model/1", bundle=digest, uri=str(tmp_path / "none"), weight=TOTAL_WEIGHT)
    wrong = Endpoint(arms=(nowhere,))
    node.publish(document(1, sum=endpoint(summing_1), broken=wrong))
    node.start()
    try:
        with grpc.insecure_channel(address(node)) as channel:
            made = message("GetModelStatusRequest")(model_spec={"name": "broken"})
            answer, _ = call(channel, made, STATUS, message("GetModelStatusResponse"))
            (one,) = answer.model_version_status
            assert one.state == 50
            assert one.status.error_message
            assert failure(channel, request("broken"), PREDICT)[:2] == ("UNAVAILABLE", "endpoint-not-loaded")
    finally:
        node.stop()
