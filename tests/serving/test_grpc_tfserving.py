"""TensorFlow Serving's gRPC methods of a real node, by messages of a schema that was written down for them."""

import json

import grpc
import numpy as np
import pytest
from tests.serving.bundles import ELEMENTS, SLOW, python_bundle, some
from tests.serving.grpc_clients import UNLIMITED, address, call, failure
from tests.serving.load import Callers
from tests.serving.nodes import RunningNode, arm, document, endpoint, free_port, until

from penstock.core.routes import TOTAL_WEIGHT, Arm, Endpoint
from penstock.protocols.tfserving.grpc_predict import message
from penstock.protocols.tfserving.grpc_tensors import DATATYPES, MOST_REPEATED_BYTES, NUMBERS, Budget, put, tensor_of
from penstock.serving.held_back import HeldBack, write_held_back

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


def test_what_two_inputs_ask_to_be_filled_up_with_counts_together(channel):
    made = message("PredictRequest")(model_spec={"name": "pair"})
    for name in ("a", "b"):
        proto = made.inputs[name]
        put(proto, np.ones(1, np.float64))
        proto.tensor_shape.dim[0].size = MOST_REPEATED_BYTES // 8 // 2 + 1
    assert made.ByteSize() < 200
    assert failure(channel, made, PREDICT)[:2] == ("RESOURCE_EXHAUSTED", "repeated-too-large")
    assert list(predict(channel, request())[0].outputs["predictions"].float_val) == [110.0]


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


CODES = {0: "OK", 2: "UNKNOWN", 3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 7: "PERMISSION_DENIED", 12: "UNIMPLEMENTED",
         14: "UNAVAILABLE"}  # fmt: skip
STATES = {10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


def told_twice(node, channel, name, version=None):
    """A model's status over gRPC, which must be what REST says: {version: (state, code, whether a problem is told)}."""
    spec = {} if version is None else {"version": {"value": version}}
    made = message("GetModelStatusRequest")(model_spec={"name": name, **spec})
    answer, _ = call(channel, made, STATUS, message("GetModelStatusResponse"))
    path = f"/v1/models/{name}" + ("" if version is None else f"/versions/{version}")
    said = json.loads(node.get(path)[2])["model_version_status"]
    assert said == [
        {
            "version": str(one.version), "state": STATES[one.state],
            "status": {"error_code": CODES[one.status.error_code], "error_message": one.status.error_message},
        }
        for one in answer.model_version_status
    ]  # fmt: skip
    return {
        int(one["version"]): (one["state"], one["status"]["error_code"], bool(one["status"]["error_message"]))
        for one in said
    }


def test_both_doors_tell_the_same_of_what_is_loading_held_back_and_leaving(make_node, tmp_path, summing_1):
    slow = python_bundle(tmp_path / "slow", SLOW.format(folder=str(tmp_path)))
    node = make_node(grpc_port=free_port())
    node.publish(document(1, sum=endpoint(slow)))
    node.start()
    held = {"3": HeldBack(state="LOADING"), "4": HeldBack(state="END", problem="no model", kind="invalid")}
    write_held_back(
        node.settings.state, {"sum": held, "new": {"1": HeldBack(state="END", problem="x", kind="refused")}}
    )
    with (
        grpc.insecure_channel(address(node)) as channel,
        Callers(node, "/v1/models/sum:predict", lambda number: {"instances": [[7, 0, 0, 0]]}),
    ):
        until((tmp_path / "begun").exists)
        node.publish(document(2, sum=Endpoint(arms=(arm(summing_1, 2),))))
        node.until_event("routes-applied", generation=2)
        assert told_twice(node, channel, "sum") == {
            1: ("UNLOADING", "OK", False), 2: ("AVAILABLE", "OK", False), 3: ("LOADING", "OK", False),
            4: ("END", "INVALID_ARGUMENT", True),
        }  # fmt: skip
        assert told_twice(node, channel, "sum", 4) == {4: ("END", "INVALID_ARGUMENT", True)}
        assert told_twice(node, channel, "new") == {1: ("END", "PERMISSION_DENIED", True)}
        (tmp_path / "go-on").touch()
        made = message("GetModelStatusRequest")(model_spec={"name": "sum", "version": {"value": 9}})
        assert failure(channel, made, STATUS)[:2] == ("NOT_FOUND", "unknown-version")
        assert node.get("/v1/models/sum/versions/9")[0] == 404


def test_a_model_that_could_not_be_loaded(tmp_path, summing_1):
    node = RunningNode(tmp_path, grpc_port=free_port())
    digest = "sha256:" + 64 * "0"
    nowhere = Arm(name="main", version="model/1", bundle=digest, uri=str(tmp_path / "none"), weight=TOTAL_WEIGHT)
    wrong = Endpoint(arms=(nowhere,))
    node.publish(document(1, sum=endpoint(summing_1), broken=wrong))
    node.start()
    try:
        with grpc.insecure_channel(address(node)) as channel:
            assert told_twice(node, channel, "broken") == {1: ("END", "UNKNOWN", True)}
            assert failure(channel, request("broken"), PREDICT)[:2] == ("UNAVAILABLE", "endpoint-not-loaded")
    finally:
        node.stop()
