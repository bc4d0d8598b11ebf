"""Whole nodes with a gRPC port: keys, TLS, deadlines, batches shared with HTTP, several processes, the end."""

import contextlib
import json
import re
import signal
import socket
import threading

import grpc
import msgspec
import numpy as np
import pytest
from tests.serving.bundles import ROWS, python_bundle
from tests.serving.certificates import Authority
from tests.serving.grpc_clients import INFER, address, call, failure, messages, request
from tests.serving.grpc_wire import Client, prefixed
from tests.serving.nodes import LIMIT_S, RunningNode, document, endpoint, free_port, summing_body, until

from penstock.core.errors import PenstockError
from penstock.core.routes import Access, KeyEntry
from penstock.protocols.tfserving.grpc_predict import message as tensorflow
from penstock.security.keys import new_key
from penstock.security.tls import TlsSettings
from penstock.serving.grpc import available
from penstock.serving.grpc.available import check_grpc
from penstock.serving.http2.frames import literal
from penstock.serving.settings import NodeSettings

KEY, OTHER = new_key(), new_key()
ACCESS = Access(
    keys={KEY[1]: KeyEntry(digest=KEY[2], subject="all"), OTHER[1]: KeyEntry(digest=OTHER[2], subject="one",
          endpoints=("other",))}
)  # fmt: skip
BEARER = (("authorization", f"Bearer {KEY[0]}"),)
PREDICT = "/tensorflow.serving.PredictionService/Predict"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
# Every row's answer is the number of rows in its batch; a row that begins with 9 waits for a file.
COUNTING = """
import pathlib, time
import numpy as np

class Model:
    def predict(self, x):
        while (x[:, 0] == 9).any() and not pathlib.Path("{gate}").exists():
            time.sleep(0.005)
        return np.full(len(x), len(x), np.float64)
"""


@pytest.fixture
def make(make_node):
    """`make(**settings)`: a node with a gRPC port, not started; all are stopped at the end, with no defect told."""
    nodes = []

    def made(**settings):
        nodes.append(make_node(grpc_port=free_port(), **settings))
        return nodes[-1]

    yield made
    for node in nodes:
        assert node.stop() == 0
        assert not node.events("internal-error")


class Gated:
    """A node whose model waits until `open`."""

    def __init__(self, node, gate):
        self.node = node
        self.gate = gate
        self.channel = grpc.insecure_channel(address(node))

    def send(self, first=1, **options):
        """A call that is under way; `result()` has the answer."""
        body = request(values=((first, 0, 0, 0),)).SerializeToString()
        return self.channel.unary_unary(INFER).future(body, timeout=options.pop("timeout", LIMIT_S), **options)

    def until_rows(self, metric, rows):
        def found():
            text = self.node.get("/metrics")[2].decode()
            return sum(map(float, re.findall(rf"^{metric}{{.*}} ([\d.]+)$", text, re.MULTILINE))) == rows

        until(found, what=f"{metric} of {rows}")

    def open(self):
        self.gate.touch()


@pytest.fixture
def gated(make, tmp_path):
    gate = tmp_path / "gate"
    outputs = {"predictions": np.full(ROWS, float(ROWS))}
    bundle = python_bundle(tmp_path / "counting", COUNTING.format(gate=gate), outputs=outputs, deterministic=False)
    node = make()
    node.publish(document(1, sum=endpoint(bundle)))
    found = Gated(node.start(), gate)
    yield found
    found.open()
    found.channel.close()


def predictions(future):
    answer = messages.ModelInferResponse.FromString(future.result())
    return list(answer.outputs[0].contents.fp64_contents)


def test_calls_over_grpc_and_http_share_a_batch(gated):
    first = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    grpc_call = gated.send()
    http = {}
    thread = threading.Thread(target=lambda: http.update(got=gated.node.post("/v2/models/sum/infer", summing_body())))
    thread.start()
    gated.until_rows("penstock_waiting_rows", 2)
    gated.open()
    assert predictions(first) == [1.0]
    thread.join()
    assert predictions(grpc_call) == http["got"][2]["outputs"][0]["data"] == [2.0]


def test_a_cancelled_call_harms_nobody_in_its_batch(gated):
    first = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    cancelled, kept = gated.send(), gated.send()
    gated.until_rows("penstock_waiting_rows", 2)
    cancelled.cancel()
    with contextlib.suppress(grpc.FutureCancelledError):
        cancelled.result()
    first.cancel()
    gated.open()
    assert predictions(kept)
    assert gated.node.get("/v2/health/ready")[0] == 200


def test_calls_given_up_count_until_they_have_ended(gated):
    with Client(gated.node) as client:
        for _ in range(256):
            number = client.begin()
            client.send(number, prefixed(request(values=((9, 0, 0, 0),))), end=True)
            client.h2.reset_stream(number)
            client.open.discard(number)
        refused = client.begin()
        assert client.result(refused)[3] == 7
        gated.open()
        until(lambda: client.call(request())[0] == 200, what="an answer, once they have ended")


def test_a_stream_is_one_rpc_however_many_calls_it_has(gated):
    slow = prefixed(request(values=((9, 0, 0, 0),)))
    with Client(gated.node) as client:
        numbers = [client.begin(STREAM) for _ in range(4)]
        for number in numbers:
            client.send(number, slow * 64, end=True)
        assert client.call(b"", "/grpc.health.v1.Health/Check")[2]["grpc-status"] == "0"
        gated.open()
        for number in numbers:
            assert client.result(number)[2]["grpc-status"] == "0"


def test_the_deadline_is_the_call_s(gated):
    with pytest.raises(grpc.RpcError) as late:
        gated.send(9, timeout=0.3).result()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The node knew it, too: it has answered the call by itself.
    line = gated.node.until_event("request", status=504)
    assert line["duration_us"] < 10_000_000
    # A header's may be shorter than the RPC's; then the node tells.
    with pytest.raises(grpc.RpcError) as late:
        gated.send(9, metadata=(("penstock-timeout-ms", "200"),)).result()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert dict(late.value.trailing_metadata())["penstock-code"] == "deadline-exceeded"


def test_a_node_that_stops_answers_what_it_owes(gated):
    owed = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    answers = gated.channel.stream_stream(STREAM)(endless(), timeout=LIMIT_S)
    assert next(answers)
    gated.node.process.send_signal(signal.SIGTERM)
    gated.node.until_event("draining")
    # The stream ends with a word of it, though its client would go on.
    with pytest.raises(grpc.RpcError) as ended:
        list(answers)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    gated.open()
    assert predictions(owed) == [1.0]
    assert gated.node.process.wait(LIMIT_S) == 0


def test_the_deadline_of_a_stream_is_that_of_all_its_calls(gated):
    with Client(gated.node) as client:
        number = client.begin(STREAM, grpc_timeout="300m")
        client.send(number, prefixed(request(values=((9, 0, 0, 0),))))
        first = client.messages(number, 1)[0]
        gated.open()
        gated.until_rows("penstock_running_rows", 0)
        client.send(number, prefixed(request()))
        second = client.messages(number, 2)[1]
    for body in (first, second):
        assert "deadline" in messages.ModelStreamInferResponse.FromString(body).error_message


def test_a_connection_ends_after_its_last_answer_when_the_node_stops(gated):
    with Client(gated.node) as client:
        number = client.begin()
        client.send(number, prefixed(request(values=((9, 0, 0, 0),))), end=True)
        gated.until_rows("penstock_running_rows", 1)
        gated.node.process.send_signal(signal.SIGTERM)
        gated.node.until_event("draining")
        gated.open()
        answer = b"".join(iter(lambda: client.socket.recv(4096), b""))
        assert literal(b"grpc-status", b"0") in answer
        # The client's own end is still open: the node does not wait for it for long.
        assert gated.node.process.wait(LIMIT_S) == 0


def test_a_stream_that_is_complete_when_the_node_stops_is_answered(gated):
    with Client(gated.node) as client:
        number = client.begin(STREAM)
        client.send(number, prefixed(request(values=((9, 0, 0, 0),))), end=True)
        gated.until_rows("penstock_running_rows", 1)
        gated.node.process.send_signal(signal.SIGTERM)
        gated.node.until_event("draining")
        gated.open()
        answer = b"".join(iter(lambda: client.socket.recv(4096), b""))
        assert literal(b"grpc-status", b"0") in answer
        assert gated.node.process.wait(LIMIT_S) == 0


def endless():
    """One call to nothing, and then silence until the stream is over."""
    yield request("none").SerializeToString()
    threading.Event().wait(LIMIT_S)


def test_two_processes_share_the_port(make, summing_1):
    node = make(processes=2)
    node.publish(document(1, sum=endpoint(summing_1)))
    node.start()
    for _ in range(10):
        # Connections of their own, or all would be one.
        with grpc.insecure_channel(address(node), [("grpc.use_local_subchannel_pool", 1)]) as channel:
            assert call(channel, request())[0].outputs[0].contents.fp32_contents[0] == 110.0
    until(lambda: len({line["pid"] for line in node.events("serving")}) == 2, what="both processes")


@pytest.fixture
def guarded(make, summing_1):
    node = make()
    plain = document(1, sum=endpoint(summing_1), other=endpoint(summing_1))
    node.publish(msgspec.structs.replace(plain, access=ACCESS))
    node.start()
    with grpc.insecure_channel(address(node)) as channel:
        yield channel


def test_who_has_a_key_is_answered(guarded):
    for name in ("authorization", "x-api-key", "penstock-key"):
        assert call(guarded, request(), metadata=((name, KEY[0]),))[0].outputs
    stream = guarded.stream_stream(STREAM)
    bodies = [request().SerializeToString()] * 3
    assert len(list(stream(iter(bodies), metadata=BEARER, timeout=LIMIT_S))) == 3
    service = "/inference.GRPCInferenceService/"
    index = messages.RepositoryIndexResponse
    got, _ = call(guarded, b"", f"{service}RepositoryIndex", index, metadata=(("x-api-key", OTHER[0]),))
    assert [model.name for model in got.models] == ["other"]


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", "ModelMetadata", "RepositoryIndex"])
@pytest.mark.parametrize(
    ("metadata", "code"), [((), "missing-key"), ((("authorization", "Bearer pk_x"),), "invalid-key")]
)
def test_who_has_none_learns_nothing(guarded, method, metadata, code):
    # Not even that the bytes are no message: they are not read.
    path = f"/inference.GRPCInferenceService/{method}"
    assert failure(guarded, b"\xff", path, metadata=metadata)[:2] == ("UNAUTHENTICATED", code)


def test_a_confined_key_is_told_no_other_name(make, summing_1):
    node = make()
    node.publish(msgspec.structs.replace(document(1, sum=endpoint(summing_1)), access=ACCESS))
    node.start()
    service, metadata = "/inference.GRPCInferenceService/", (("x-api-key", OTHER[0]),)
    with grpc.insecure_channel(address(node)) as channel:
        for asked, status in (("other", "NOT_FOUND"), ("", "PERMISSION_DENIED")):
            wishes = {
                INFER: request(asked),
                f"{service}ModelMetadata": messages.ModelMetadataRequest(name=asked),
                f"{service}ModelReady": messages.ModelReadyRequest(name=asked),
                PREDICT: tensorflow("PredictRequest")(model_spec={"name": asked}),
                STATUS: tensorflow("GetModelStatusRequest")(model_spec={"name": asked}),
            }
            for method, wish in wishes.items():
                found, _, text = failure(channel, wish, method, metadata=metadata)
                assert (found, "sum" in text) == (status, False), (method, text)
        assert "served here: sum" in failure(channel, request("other"), metadata=BEARER)[2]


def test_what_is_open_and_what_is_forbidden(guarded):
    service = "/inference.GRPCInferenceService/"
    assert call(guarded, b"", f"{service}ServerLive", messages.ServerLiveResponse)[0].live
    assert call(guarded, b"", f"{service}ServerReady", messages.ServerReadyResponse)[0].ready
    assert guarded.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x01"
    metadata = (("x-api-key", OTHER[0]),)
    assert failure(guarded, request(), metadata=metadata)[:2] == ("PERMISSION_DENIED", "endpoint-forbidden")
    twice = (*BEARER, *BEARER)
    assert failure(guarded, request(), metadata=twice)[:2] == ("INVALID_ARGUMENT", "conflicting-headers")
    with pytest.raises(grpc.RpcError) as refusal:
        list(guarded.stream_stream(STREAM)(iter([request().SerializeToString()]), timeout=LIMIT_S))
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_key_and_no_message(guarded):
    stub = guarded.stream_unary(INFER)
    with pytest.raises(grpc.RpcError) as refusal:
        stub(iter([]), metadata=BEARER, timeout=LIMIT_S)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_tls_and_a_renewed_certificate(make, tmp_path, summing_1):
    authority = Authority(tmp_path)
    first, certificate, key = authority.issue("node")
    _, *mine = authority.issue("client")
    node = make(tls=TlsSettings(certificate=certificate, key=key, client_ca=authority.file))
    node.publish(document(1, sum=endpoint(summing_1)))
    node.start(wait=None)
    node.until_event("serving")
    context = authority.context(mine)
    context.set_alpn_protocols(["h2"])

    def serial():
        with _connect(node, context) as client:
            return int(client.getpeercert()["serialNumber"], 16)

    pair = {"private_key": mine[1].read_bytes(), "certificate_chain": mine[0].read_bytes()}
    roots = authority.file.read_bytes()
    with grpc.secure_channel(address(node), grpc.ssl_channel_credentials(roots, **pair)) as channel:
        assert call(channel, request())[0].outputs
    with grpc.secure_channel(address(node), grpc.ssl_channel_credentials(roots)) as channel:
        assert failure(channel, request(), timeout=10)[0] == "UNAVAILABLE", "a client without a certificate"
    assert serial() == first
    # One that cannot be used is told, and the old one goes on.
    kept = key.read_bytes()
    key.write_bytes(b"no key")
    assert serial() == first
    assert node.until_event("certificate-refused", port=node.settings.grpc_port)
    key.write_bytes(kept)
    second, _, _ = authority.issue("node")
    assert until(lambda: serial() == second, what="the renewed certificate")


def _connect(node, context):
    plain = socket.create_connection(("127.0.0.1", node.settings.grpc_port), LIMIT_S)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_port_that_cannot_be_had(make, summing_1, tmp_path, monkeypatch):
    def refused(**settings):
        with pytest.raises(PenstockError) as refusal:
            check_grpc(NodeSettings(routes=tmp_path, home=tmp_path, **settings))
        return refusal.value

    assert refused(port=9000, grpc_port=9000).code == "port-taken"
    monkeypatch.setattr(available, "find_spec", lambda name: None)
    missing = refused(grpc_port=9000)
    assert (missing.code, missing.hint) == ("missing-extra", "pip install 'penstock[grpc]'")
    check_grpc(NodeSettings(routes=tmp_path, home=tmp_path))
    holder = make()
    holder.publish(document(1, sum=endpoint(summing_1)))
    holder.start()
    for processes in (1, 2):
        node = RunningNode(tmp_path / f"second-{processes}", grpc_port=holder.settings.grpc_port, processes=processes)
        node.publish(document(1, sum=endpoint(summing_1)))
        node.start(wait=None)
        assert node.process.wait(LIMIT_S) == 1
        assert "port-taken" in node.log_path.read_text()
        node.process = None


def test_loading_and_unloading(make, summing_1):
    node = make(model_control=True)
    node.publish(document(1, sum=endpoint(summing_1)))
    node.start()
    service = "/inference.GRPCInferenceService/"
    load, unload = f"{service}RepositoryModelLoad", f"{service}RepositoryModelUnload"
    named = messages.RepositoryModelLoadRequest(model_name="sum")
    with grpc.insecure_channel(address(node)) as channel:
        call(channel, named, unload, messages.RepositoryModelUnloadResponse)
        assert failure(channel, request())[:2] == ("UNAVAILABLE", "endpoint-not-loaded")
        ready = messages.ModelReadyRequest(name="sum")
        assert not call(channel, ready, f"{service}ModelReady", messages.ModelReadyResponse)[0].ready
        assert failure(channel, ready, f"{service}ModelMetadata")[:2] == ("UNAVAILABLE", "endpoint-not-loaded")
        only_ready = messages.RepositoryIndexRequest(ready=True)
        assert not call(channel, only_ready, f"{service}RepositoryIndex", messages.RepositoryIndexResponse)[0].models
        named.parameters["config"].string_param = json.dumps({})
        assert failure(channel, named, load)[:2] == ("INVALID_ARGUMENT", "load-as-routed")
        del named.parameters["config"]
        call(channel, named, load, messages.RepositoryModelLoadResponse)
        assert call(channel, request())[0].outputs
        assert failure(channel, messages.RepositoryModelLoadRequest(model_name="none"), load)[0] == "NOT_FOUND"
