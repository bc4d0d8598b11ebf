"""The gRPC door of a real node, by tritonclient as its users have it and by raw messages."""

import asyncio
import json
import queue

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from hypothesis import given as hypothesis_given
from hypothesis import settings, strategies
from tests.serving.bundles import ELEMENTS, some
from tests.serving.grpc_clients import INFER, UNLIMITED, address, call, failure, given, messages, request
from tritonclient.utils import InferenceServerException

from penstock.core.tensors import from_bytes, to_bytes
from penstock.protocols.oip.grpc_infer import CONTENTS


@pytest.fixture(scope="module")
def client(node):
    with triton.InferenceServerClient(address(node)) as found:
        yield found


@pytest.fixture(scope="module")
def channel(node):
    with grpc.insecure_channel(address(node), UNLIMITED) as found:
        yield found


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("sum")
    assert client.is_model_ready("sum", "2")
    assert client.get_server_metadata().name == "penstock"
    metadata = client.get_model_metadata("people", as_json=True)
    assert metadata["name"] == "people"
    assert metadata["platform"] == "penstock_onnx"
    assert [tensor["name"] for tensor in metadata["inputs"]]
    for ask in (client.is_model_ready, client.get_model_metadata):
        with pytest.raises(InferenceServerException) as refusal:
            ask("none")
        assert refusal.value.status() == "StatusCode.NOT_FOUND"


def test_the_standard_health_check(channel):
    assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
def test_every_datatype_as_raw(client, datatype):
    values = some(datatype, (3, 2))
    sent = given("x", values, datatype)
    result = client.infer(f"same-{datatype}", [sent], request_id="mine", outputs=[triton.InferRequestedOutput("y")])
    got = result.as_numpy("y")
    if datatype == "BYTES":
        assert got.ravel().tolist() == [value.encode() for value in values.ravel()]
    else:
        assert got.dtype == values.dtype
        assert np.array_equal(got, values)
    answer = result.get_response()
    assert (answer.id, answer.model_name, answer.model_version) == ("mine", f"same-{datatype}", "1")


@pytest.mark.parametrize("datatype", sorted(CONTENTS))
def test_every_datatype_as_typed(channel, datatype):
    values = some(datatype, (3, 2))
    flat = [v.encode() if isinstance(v, str) else v for v in values.ravel().tolist()]
    message = messages.ModelInferRequest(model_name=f"same-{datatype}")
    tensor = message.inputs.add(name="x", datatype=datatype, shape=values.shape)
    getattr(tensor.contents, CONTENTS[datatype]).extend(flat)
    answer, _ = call(channel, message)
    assert not answer.raw_output_contents, "typed in, typed out"
    assert list(answer.outputs[0].shape) == [3, 2]
    assert list(getattr(answer.outputs[0].contents, CONTENTS[datatype])) == flat


@settings(max_examples=60, deadline=None)
@hypothesis_given(
    datatype=strategies.sampled_from(sorted(ELEMENTS)), rows=strategies.integers(1, 5), seed=strategies.integers(0, 999)
)
def test_answers_are_those_over_http_bit_by_bit(node, channel, datatype, rows, seed):
    raw = to_bytes(some(datatype, (rows, 2), seed))
    tensor = {"name": "x", "datatype": datatype, "shape": [rows, 2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    status, got, body = node.request("POST", f"/v2/models/same-{datatype}/infer", head + raw, headers)
    assert status == 200
    message = messages.ModelInferRequest(model_name=f"same-{datatype}", raw_input_contents=[raw])
    message.inputs.add(name="x", datatype=datatype, shape=[rows, 2])
    answer, _ = call(channel, message)
    assert answer.raw_output_contents[0] == body[int(got["inference-header-content-length"]) :]
    if datatype != "BYTES":
        assert from_bytes(raw, datatype, [rows, 2]).tobytes() == answer.raw_output_contents[0]


def test_versions_parameters_outputs_and_ids(channel, client):
    tensor = given("x", np.ones((1, 4), np.float32))
    result = client.infer("sum", [tensor], model_version="2", parameters={"note": "x", "number": 3})
    assert result.as_numpy("predictions").item() == 204.0
    assert result.get_response().id == ""
    message = request("pair", values=(1.0, 2.0), name="a", id="7")
    message.inputs.add(name="b", datatype="FP32", shape=[2]).contents.fp32_contents.extend([3.0, 5.0])
    message.outputs.add(name="difference")
    answer, _ = call(channel, message)
    assert (answer.id, [output.name for output in answer.outputs]) == ("7", ["difference"])
    message.outputs[0].parameters["classification"].int64_param = 1
    answer, _ = call(channel, message)
    assert answer.outputs[0].datatype == "BYTES"


def test_metadata_are_the_headers_of_http(channel):
    sent = (("x-request-id", "order-7"), ("penstock-arm", "arm-1"), ("traceparent", "00-1-2-3"))
    answer, got = call(channel, request(), metadata=sent)
    assert answer.outputs[0].contents.fp32_contents[0] == 210.0
    assert got["penstock-version"] == "model/2"
    assert (got["penstock-arm"], got["penstock-reason"]) == ("arm-1", "override")
    assert (got["x-request-id"], got["traceparent"]) == ("order-7", "00-1-2-3")
    # HTTP's own compression does not touch messages.
    assert call(channel, request(), metadata=(("accept-encoding", "gzip"), ("content-encoding", "gzip")))


def two_inputs_raw(count):
    message = messages.ModelInferRequest(model_name="sum", raw_input_contents=[bytes(16)] * count)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    return message


def mixed():
    message = request()
    message.raw_input_contents.append(bytes(16))
    return message


def text(data, shape=(1, 2)):
    message = messages.ModelInferRequest(model_name="same-BYTES", raw_input_contents=[data])
    message.inputs.add(name="x", datatype="BYTES", shape=shape)
    return message


def wanting(*names):
    message = request()
    for name in names:
        message.outputs.add(name=name)
    return message


# fmt: off
REFUSED = {
    "no message": (b"\xff\xff", "INVALID_ARGUMENT", "invalid-message"),
    "unknown model": (request("none"), "NOT_FOUND", "unknown-endpoint"),
    "unknown version": (request(model_version="9"), "NOT_FOUND", "unknown-version"),
    "no model named": (request(""), "INVALID_ARGUMENT", "no-default-endpoint"),
    "too few raw": (two_inputs_raw(2), "INVALID_ARGUMENT", "wrong-raw-contents"),
    "both forms": (mixed(), "INVALID_ARGUMENT", "mixed-contents"),
    "wrong field": (request(field="fp64_contents"), "INVALID_ARGUMENT", "wrong-contents"),
    "typed FP16": (request("same-FP16", datatype="FP16", values=((1, 2),)), "INVALID_ARGUMENT", "wrong-contents"),
    "no contents": (request(values=((),)), "INVALID_ARGUMENT", None),
    "too few values": (messages.ModelInferRequest(model_name="sum", inputs=[messages.ModelInferRequest.InferInputTensor(
        name="x", datatype="FP32", shape=[1, 4])]), "INVALID_ARGUMENT", "wrong-count"),
    "beyond INT8": (request("same-INT8", datatype="INT8", field="int_contents", values=((1, 300),)),
                    "INVALID_ARGUMENT", "invalid-value"),
    "unknown datatype": (request(datatype="FP99"), "INVALID_ARGUMENT", "unknown-datatype"),
    "negative shape": (messages.ModelInferRequest(model_name="sum", inputs=[
        messages.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[-1, 4])]),
        "INVALID_ARGUMENT", "wrong-shape"),
    "wrong shape": (request(values=((1, 2, 3),)), "INVALID_ARGUMENT", "wrong-shape"),
    "infinite": (request(values=((1, 2, 3, float("inf")),)), "INVALID_ARGUMENT", "invalid-value"),
    "length beyond the end": (text(b"\xff\0\0\0a"), "INVALID_ARGUMENT", "wrong-binary-size"),
    "cut length": (text(b"\1\0\0\0a\1\0"), "INVALID_ARGUMENT", "wrong-binary-size"),
    "unknown output": (wanting("none"), "INVALID_ARGUMENT", "unknown-output"),
    "output twice": (wanting("predictions", "predictions"), "INVALID_ARGUMENT", "duplicate-output"),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_told(channel, case):
    message, status, code = REFUSED[case]
    got = failure(channel, message)
    assert got[0] == status
    assert code is None or got[1] == code


def test_a_method_that_is_not_there(channel):
    assert failure(channel, b"", "/inference.GRPCInferenceService/Nothing")[0] == "UNIMPLEMENTED"
    assert failure(channel, b"", metadata=(("penstock-timeout-ms", "soon"),))[0] == "INVALID_ARGUMENT"


def test_any_text_comes_through_as_it_is(channel):
    assert "'50 %25 of ü'" in failure(channel, wanting("50 %25 of ü"))[2]


def test_long_texts_are_cut(channel):
    assert failure(channel, request(name="n" * 50_000))[:2] == ("INVALID_ARGUMENT", "wrong-inputs")


def test_the_repository(client):
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {"name": "sum", "version": "2", "state": "READY"} in index
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException) as refusal:
            change("sum")
        assert refusal.value.status() == "StatusCode.PERMISSION_DENIED"


def test_large_messages(client):
    # gRPC's own limit is 4 MB; the endpoint's is 64 MiB.
    values = some("FP64", (400_000, 2))
    sent = given("x", values, "FP64")
    assert np.array_equal(client.infer("same-FP64", [sent]).as_numpy("y"), values)


def test_messages_beyond_a_limit(channel):
    many = request(values=np.ones((70_000, 4)).tolist())
    assert failure(channel, many)[:2] == ("RESOURCE_EXHAUSTED", "body-too-large")
    # Larger than any endpoint takes: gRPC refuses it before it is here.
    beyond = messages.ModelInferRequest(model_name="same-FP64", raw_input_contents=[bytes(65 * 2**20)])
    beyond.inputs.add(name="x", datatype="FP64", shape=[1, 1])
    assert failure(channel, beyond)[0] == "RESOURCE_EXHAUSTED"
    assert failure(channel, beyond, compression=grpc.Compression.Gzip)[0] == "RESOURCE_EXHAUSTED"
    assert call(channel, request())


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_messages(client, coding):
    values = np.ones((5_000, 4), np.float32)
    result = client.infer("sum", [given("x", values)], compression_algorithm=coding)
    assert result.as_numpy("predictions").tolist() == [104.0] * 5_000


def test_calls_at_once(client):
    answers = queue.Queue()
    for number in range(40):
        tensor = given("x", np.full((1, 4), number, np.float32))
        client.async_infer(
            "sum",
            [tensor],
            lambda result, error, number=number: answers.put((number, error, result)),
            client_timeout=60,
        )
    for _ in range(40):
        number, error, result = answers.get(timeout=60)
        assert error is None
        assert result.as_numpy("predictions").item() == 100.0 + 4 * number


def test_tritonclient_with_asyncio(node):
    async def main():
        async with triton_aio.InferenceServerClient(address(node)) as client:
            tensors = [given("x", np.full((1, 4), number, np.float32)) for number in range(20)]
            results = await asyncio.gather(*[client.infer("sum", [tensor]) for tensor in tensors])
            assert [r.as_numpy("predictions").item() for r in results] == [100.0 + 4 * n for n in range(20)]

    asyncio.run(main())


def test_a_stream_of_tritonclient(node):
    answers = queue.Queue()
    with triton.InferenceServerClient(address(node)) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(200):
            tensor = given("x", np.full((1, 4), number, np.float32))
            client.async_stream_infer("none" if number == 50 else "sum", [tensor], request_id=str(number))
        found = [answers.get(timeout=60) for _ in range(200)]
        client.stop_stream()
    for number, (result, error) in enumerate(found):
        if number == 50:
            assert "no endpoint" in error.message()
        else:
            # In the order of the requests, those after a failed one, too.
            assert result.get_response().id == str(number)
            assert result.as_numpy("predictions").item() == 100.0 + 4 * number


def test_a_stream_of_bare_answers(channel):
    stream = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    bare = (("penstock-stream", "bare"),)
    bodies = [request(values=((n, 0, 0, 0),), id=str(n)).SerializeToString() for n in range(5)]
    answers = [messages.ModelInferResponse.FromString(body) for body in stream(iter(bodies), metadata=bare, timeout=60)]
    assert [answer.id for answer in answers] == list("01234")
    with pytest.raises(grpc.RpcError) as refusal:
        list(stream(iter([request("none").SerializeToString()]), metadata=bare, timeout=60))
    assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


def test_calls_are_logged_like_those_over_http(node, channel):
    call(channel, request(), metadata=(("x-request-id", "counted-1"),))
    line = node.until_event("request", id="counted-1")
    assert (line["endpoint"], line["status"], line["rows"]) == ("sum", 200, 1)


def test_a_client_that_goes_away_harms_nobody(channel):
    stub = channel.unary_unary(INFER)
    body = request().SerializeToString()
    for _ in range(50):
        stub.future(body).cancel()
    assert call(channel, request())
