"""Whole nodes with a gRPC port: keys, TLS, several processes, models that are loaded and unloaded."""

import json
import socket

import grpc
import msgspec
import pytest
from tests.serving.certificates import Authority
from tests.serving.grpc_clients import INFER, address, call, failure, messages, request
from tests.serving.nodes import LIMIT_S, RunningNode, document, endpoint, until

from penstock.core.errors import PenstockError
from penstock.core.routes import Access, KeyEntry
from penstock.protocols.tfserving.grpc_predict import message as tensorflow
from penstock.security.keys import new_key
from penstock.security.tls import TlsSettings
from penstock.serving.grpc import available
from penstock.serving.grpc.available import check_grpc
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


def test_two_processes_share_the_port(make_grpc_node, summing_1):
    node = make_grpc_node(processes=2)
    node.publish(document(1, sum=endpoint(summing_1)))
    node.start()
    for _ in range(10):
        # Connections of their own, or all would be one.
        with grpc.insecure_channel(address(node), [("grpc.use_local_subchannel_pool", 1)]) as channel:
            assert call(channel, request())[0].outputs[0].contents.fp32_contents[0] == 110.0
    until(lambda: len({line["pid"] for line in node.events("serving")}) == 2, what="both processes")


@pytest.fixture
def guarded(make_grpc_node, summing_1):
    node = make_grpc_node()
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


def test_a_confined_key_is_told_no_other_name(make_grpc_node, summing_1):
    node = make_grpc_node()
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


def test_tls_and_a_renewed_certificate(make_grpc_node, tmp_path, summing_1):
    authority = Authority(tmp_path)
    first, certificate, key = authority.issue("node")
    _, *mine = authority.issue("client")
    node = make_grpc_node(tls=TlsSettings(certificate=certificate, key=key, client_ca=authority.file))
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


def test_a_port_that_cannot_be_had(make_grpc_node, summing_1, tmp_path, monkeypatch):
    def refused(**settings):
        with pytest.raises(PenstockError) as refusal:
            check_grpc(NodeSettings(routes=tmp_path, home=tmp_path, **settings))
        return refusal.value

    assert refused(port=9000, grpc_port=9000).code == "port-taken"
    monkeypatch.setattr(available, "find_spec", lambda name: None)
    missing = refused(grpc_port=9000)
    assert (missing.code, missing.hint) == ("missing-extra", "pip install 'penstock[grpc]'")
    check_grpc(NodeSettings(routes=tmp_path, home=tmp_path))
    holder = make_grpc_node()
    holder.publish(document(1, sum=endpoint(summing_1)))
    holder.start()
    for processes in (1, 2):
        node = RunningNode(tmp_path / f"second-{processes}", grpc_port=holder.settings.grpc_port, processes=processes)
        node.publish(document(1, sum=endpoint(summing_1)))
        node.start(wait=None)
        assert node.process.wait(LIMIT_S) == 1
        assert "port-taken" in node.log_path.read_text()
        node.process = None


def test_loading_and_unloading(make_grpc_node, summing_1):
    node = make_grpc_node(model_control=True)
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
