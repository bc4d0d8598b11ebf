"""KServe's own Python client, as it is: REST of both versions and gRPC, against a real node."""

import asyncio

import numpy as np
import pytest
from tests.serving.bundles import ELEMENTS, some

kserve = pytest.importorskip("kserve")
grpc = pytest.importorskip("grpc")
httpx = pytest.importorskip("httpx")

# The client refuses FP16 in JSON, and the protocol has no typed field for it.
WAYS = [(datatype, binary) for datatype in sorted(ELEMENTS) for binary in (True, False) if binary or datatype != "FP16"]


def rest(node, protocol, action):
    """What `action(client, base_url)` gives, with a client of its own."""

    async def run():
        async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol=protocol)) as client:
            return await action(client, f"http://127.0.0.1:{node.port}")

    return asyncio.run(run())


def rpc(node, action):
    """What `action(client)` gives, with a client of its own."""

    async def run():
        async with kserve.InferenceGRPCClient(f"127.0.0.1:{node.settings.grpc_port}") as client:
            return await action(client)

    return asyncio.run(run())


def given(name, values, datatype, binary):
    tensor = kserve.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


def request(model, *tensors, **fields):
    return kserve.InferRequest(model, list(tensors), **fields)


def same(got, values, datatype):
    """Whether an answer is `values`: text comes as bytes or as text, by the way it travelled."""
    if datatype == "BYTES":
        texts = [value.decode() if isinstance(value, bytes) else value for value in got.ravel()]
        return got.shape == values.shape and texts == list(values.ravel())
    return got.dtype == values.dtype and np.array_equal(got, values)


def test_health_of_both_protocols(node):
    assert rest(node, "v2", lambda client, url: client.is_server_live(url)) is True
    assert rest(node, "v2", lambda client, url: client.is_server_ready(url)) is True
    assert rest(node, "v2", lambda client, url: client.is_model_ready(url, "sum")) is True
    assert rest(node, "v2", lambda client, url: client.is_model_ready(url, "none")) is False
    assert rest(node, "v1", lambda client, url: client.is_server_live(url)) is True
    assert rest(node, "v1", lambda client, url: client.is_model_ready(url, "sum")) is True
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        rest(node, "v1", lambda client, url: client.is_model_ready(url, "none"))


def test_health_over_grpc(node):
    assert rpc(node, lambda client: client.is_server_live()) is True
    assert rpc(node, lambda client: client.is_server_ready()) is True
    assert rpc(node, lambda client: client.is_model_ready("sum")) is True


@pytest.mark.parametrize(("datatype", "binary"), WAYS)
@pytest.mark.parametrize("back", [True, False], ids=["binary-out", "json-out"])
def test_every_datatype_by_rest(node, datatype, binary, back):
    values = some(datatype, (3, 2))
    asked = request(
        f"same-{datatype}",
        given("x", values, datatype, binary),
        request_id="mine",
        parameters={"binary_data_output": True} if back else None,
    )
    answer = rest(node, "v2", lambda client, url: client.infer(url, asked, model_name=f"same-{datatype}"))
    assert (answer.id, answer.model_name) == ("mine", f"same-{datatype}")
    assert same(answer.outputs[0].as_numpy(), values, datatype)


@pytest.mark.parametrize(("datatype", "binary"), WAYS)
def test_every_datatype_by_grpc(node, datatype, binary):
    values = some(datatype, (3, 2))
    asked = request(f"same-{datatype}", given("x", values, datatype, binary), request_id="mine")
    answer = rpc(node, lambda client: client.infer(asked))
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", f"same-{datatype}", "1")
    assert same(answer.outputs[0].as_numpy(), values, datatype)


@pytest.mark.parametrize("way", ["rest", "grpc"])
@pytest.mark.parametrize("binary", [True, False])
def test_two_inputs(node, way, binary):
    a, b = some("FP32", (3,)), some("FP32", (3,), seed=2)
    asked = request("pair", given("a", a, "FP32", binary), given("b", b, "FP32", binary))
    answer = (
        rest(node, "v2", lambda client, url: client.infer(url, asked, model_name="pair"))
        if way == "rest"
        else rpc(node, lambda client: client.infer(asked))
    )
    outputs = {output.name: output.as_numpy() for output in answer.outputs}
    assert np.array_equal(outputs["total"], a + b)
    assert np.array_equal(outputs["difference"], a - b)


def test_rows_by_the_first_protocol(node):
    rows = {"instances": [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]}
    answer = rest(node, "v1", lambda client, url: client.infer(url, rows, model_name="sum"))
    assert answer == {"predictions": [110.0, 126.0]}


def test_a_whole_url_as_one_endpoint(node):
    """A graph's URL is called as it is, whatever the protocol."""
    rows = {"instances": [[1.0, 2.0, 3.0, 4.0]]}
    answer = rest(
        node, "v1", lambda client, url: client.infer(f"{url}/v1/models/sum:predict", rows, is_graph_endpoint=True)
    )
    assert answer == {"predictions": [110.0]}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("model", "name", "values", "status", "says"),
    [
        ("none", "x", np.zeros((1, 4), np.float32), 404, "no endpoint"),
        ("sum", "y", np.zeros((1, 4), np.float32), 400, "missing 'x'"),
        ("sum", "x", np.zeros((1, 4), np.int64), 400, "INT64"),
        ("sum", "x", np.zeros((1, 5), np.float32), 400, "shape"),
    ],
)
def test_errors_are_told(node, model, name, values, status, says, binary):
    asked = request(model, given(name, values, "INT64" if values.dtype == np.int64 else "FP32", binary))
    with pytest.raises(httpx.HTTPStatusError, match=says) as refusal:
        rest(node, "v2", lambda client, url: client.infer(url, asked, model_name=model))
    assert refusal.value.response.status_code == status
    with pytest.raises(grpc.RpcError) as failed:
        rpc(node, lambda client: client.infer(asked))
    assert failed.value.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
    assert says in failed.value.details()


def test_errors_of_the_first_protocol_are_told(node):
    for rows, status in (({"instances": []}, 400), ({"rows": 1}, 400), ({"instances": [["a"]]}, 400)):
        with pytest.raises(httpx.HTTPStatusError) as refusal:
            rest(node, "v1", lambda client, url, rows=rows: client.infer(url, rows, model_name="sum"))
        assert refusal.value.response.status_code == status
    with pytest.raises(httpx.HTTPStatusError) as refusal:
        rest(node, "v1", lambda client, url: client.explain(url, "sum", {"instances": [[1.0] * 4]}))
    assert refusal.value.response.status_code == 404


def test_health_of_an_unknown_model_over_grpc(node):
    try:
        assert rpc(node, lambda client: client.is_model_ready("none")) is False
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND
