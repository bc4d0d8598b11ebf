"""The client that Triton's users have, against a real node: every datatype, JSON and binary, both ways."""

import warnings

import numpy as np
import pytest
from tests.serving.bundles import ELEMENTS, some

with warnings.catch_warnings():
    # gevent, which the client is built on, patches and warns when it is imported.
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException


@pytest.fixture(scope="module")
def client(node):
    found = triton.InferenceServerClient(f"127.0.0.1:{node.port}", concurrency=4)
    yield found
    found.close()


def given(name, values, datatype, binary):
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.is_model_ready("sum", "2")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata()["name"] == "penstock"
    metadata = client.get_model_metadata("sum")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary-in", "json-in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary-out", "json-out"])
def test_every_datatype(client, datatype, binary_in, binary_out):
    if datatype == "FP16" and not (binary_in and binary_out):
        pytest.skip("the client itself refuses FP16 in JSON")
    values = some(datatype, (3, 2))
    outputs = [triton.InferRequestedOutput("y", binary_data=binary_out)]
    inputs = [given("x", values, datatype, binary_in)]
    result = client.infer(f"same-{datatype}", inputs, outputs=outputs, request_id="mine")
    got = result.as_numpy("y")
    assert got.shape == (3, 2)
    if datatype == "BYTES":
        expected = [value.encode() for value in values.ravel()]
        assert [v.encode() if isinstance(v, str) else v for v in got.ravel()] == expected
    else:
        assert got.dtype == values.dtype
        assert np.array_equal(got, values)
    answer = result.get_response()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("mine", f"same-{datatype}", "1")


def test_mixed_inputs_and_requested_outputs(client):
    a, b = some("FP32", (3,)), some("FP32", (3,), seed=2)
    inputs = [given("a", a, "FP32", True), given("b", b, "FP32", False)]
    outputs = [triton.InferRequestedOutput("total", binary_data=False), triton.InferRequestedOutput("difference")]
    result = client.infer("pair", inputs, outputs=outputs)
    assert np.array_equal(result.as_numpy("total"), a + b)
    assert np.array_equal(result.as_numpy("difference"), a - b)
    only = client.infer("pair", inputs, outputs=outputs[:1])
    assert only.as_numpy("difference") is None


def test_calls_at_once(client):
    values = [np.full((1, 4), number, np.float32) for number in range(40)]
    asked = [client.async_infer("sum", [given("x", x, "FP32", True)]) for x in values]
    assert [answer.get_result().as_numpy("predictions").item() for answer in asked] == [
        100.0 + 4 * n for n in range(40)
    ]


def test_versions_and_parameters(client):
    tensor = given("x", np.ones((1, 4), np.float32), "FP32", True)
    result = client.infer("sum", [tensor], model_version="2", parameters={"note": "x"})
    assert result.as_numpy("predictions").item() == 204.0


@pytest.mark.parametrize(
    ("model", "name", "datatype", "shape", "says"),
    [
        ("none", "x", "FP32", (1, 4), "no endpoint"), ("sum", "y", "FP32", (1, 4), "missing 'x'"),
        ("sum", "x", "INT64", (1, 4), "INT64"), ("sum", "x", "FP32", (1, 5), "shape"),
        ("sum", "x", "FP32", (0, 4), "nothing"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("binary", [True, False])
def test_errors_are_told(client, model, name, datatype, shape, says, binary):
    values = np.zeros(shape, {"FP32": np.float32, "INT64": np.int64}[datatype])
    with pytest.raises(InferenceServerException) as refusal:
        client.infer(model, [given(name, values, datatype, binary)])
    assert says in refusal.value.message()
    assert refusal.value.status() in ("400", "404")
