"""Loading and unloading by callers: only where the node allows it, seen by every event loop, and losing nothing."""

import json

import grpc
import msgspec
import pytest
from tests.serving.grpc_clients import address, failure, messages
from tests.serving.nodes import RunningNode, document, endpoint, free_port, summing_body, until
from tests.serving.test_grpc_tfserving import told_twice

from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key


def post(node, path, body=None, headers=None):
    status, _, answer = node.request(
        "POST", path, json.dumps(body).encode() if body is not None else b"", headers or {}
    )
    return status, json.loads(answer)


@pytest.fixture(scope="module", params=[1, 2], ids=["one-loop", "two-loops"])
def steered(request, tmp_path_factory, summing_1, summing_2):
    node = RunningNode(tmp_path_factory.mktemp("steered"), model_control=True, processes=request.param)
    node.publish(document(1, sum=endpoint(summing_1, summing_2), other=endpoint(summing_1)))
    node.start()
    yield node
    assert node.stop() == 0
    assert not node.events("internal-error")


def states(node, **wish):
    status, models = post(node, "/v2/repository/index", wish or None)
    assert status == 200
    return {(model["name"], model["version"]): model["state"] for model in models}


def test_unload_and_load_again(steered):
    everything = {("sum", "1"), ("sum", "2"), ("other", "1")}
    assert states(steered) == dict.fromkeys(everything, "READY")
    for _ in range(3):
        assert post(steered, "/v2/repository/models/sum/unload", {"parameters": {"unload_dependents": False}})[0] == 200
        for _ in range(10):
            # Whichever event loop answers.
            status, answer = post(steered, "/v2/models/sum/infer", summing_body())
            assert (status, answer["code"]) == (503, "endpoint-not-loaded")
            assert steered.get("/v2/models/sum/ready")[0] == 503
            assert post(steered, "/v2/models/other/infer", summing_body())[0] == 200
        assert states(steered)["sum", "1"] == "UNAVAILABLE"
        assert set(states(steered, ready=True)) == {("other", "1")}
        assert steered.get("/v2/health/ready")[0] == 200
        assert post(steered, "/v2/repository/models/sum/load")[0] == 200
        for _ in range(10):
            assert post(steered, "/v2/models/sum/infer", summing_body())[0] == 200
    assert states(steered, ready=True) == dict.fromkeys(everything, "READY")


def test_every_contract_says_that_a_model_was_unloaded(make_node, summing_1, summing_2):
    node = make_node(model_control=True, grpc_port=free_port())
    node.publish(document(1, one=endpoint(summing_1), two=endpoint(summing_1, summing_2, labels={"stable": "model/1"})))
    node.start()
    assert post(node, "/v2/repository/models/two/unload")[0] == 200
    with grpc.insecure_channel(address(node)) as channel:
        ended = {1: ("END", "UNAVAILABLE", True), 2: ("END", "UNAVAILABLE", True)}
        until(lambda: told_twice(node, channel, "two") == ended, what="the end of both versions")
        assert told_twice(node, channel, "two", 2) == {2: ended[2]}
        status, _, text = node.get("/v1/models/two/labels/stable")
        assert (status, [one["version"] for one in json.loads(text)["model_version_status"]]) == (200, ["1"])
        found = json.loads(node.get("/v1/models/two")[2])
        assert found["ready"] is False
        assert {one["status"]["error_message"] for one in found["model_version_status"]} == {"it was unloaded"}
        asked = messages.ModelMetadataRequest(name="two")
        said = failure(channel, asked, "/inference.GRPCInferenceService/ModelMetadata")
        assert said[:2] == ("UNAVAILABLE", "endpoint-not-loaded") and "two is not loaded: it was unloaded" in said[2]
        assert node.get("/v1/models/two/versions/9")[0] == 404
    for path in ("/v2/models/two", "/v2/models/two/versions/1", "/models/two", "/v1/models/two/metadata",
                 "/openai/v1/models/two", "/v2/models/two/stats"):  # fmt: skip
        status, _, text = node.get(path)
        assert status == 503, path
        assert "two is not loaded: it was unloaded" in text.decode() and "endpoint-not-loaded" in text.decode(), path
    assert json.loads(node.get("/models")[2])["models"][0]["modelName"] == "one"
    assert post(node, "/v2/repository/models/two/load")[0] == 200
    assert json.loads(node.get("/v1/models/two")[2])["model_version_status"][0]["state"] == "AVAILABLE"
    assert node.stop() == 0
    assert not node.events("internal-error")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v2/repository/models/none/load", None, 404, "unknown-endpoint"),
        ("/v2/repository/models/none/unload", None, 404, "unknown-endpoint"),
        ("/v2/repository/models/sum/load", {"parameters": {"config": "{}"}}, 400, "load-as-routed"),
        ("/v2/repository/models/sum/load", {"parameters": {"file:1/m.onnx": "AA=="}}, 400, "load-as-routed"),
        ("/v2/repository/models/sum/load", [], 400, "invalid-json"),
        ("/v2/repository/models/sum/unload", {"parameters": 5}, 400, "invalid-json"),
        ("/v2/repository/index", {"ready": "yes"}, 400, "invalid-json"),
    ],
)  # fmt: skip
def test_what_is_no_wish(steered, path, body, status, code):
    found, answer = post(steered, path, body)
    assert (found, answer["code"]) == (status, code)


def test_a_node_that_was_not_started_for_it_refuses(door):
    for verb in ("load", "unload"):
        status, _, answer = door.call("POST", f"/v2/repository/models/sum/{verb}")
        assert (status, json.loads(answer)["code"]) == (403, "model-control-off")
    assert door.call("GET", "/v2/repository/models/sum/load")[0] == 405
    status, _, answer = door.call("POST", "/v2/repository/index")
    assert status == 200
    assert {"name": "sum", "version": "2", "state": "READY", "reason": ""} in json.loads(answer)


def test_new_routes_keep_what_was_unloaded_and_a_restart_does_not(make_node, summing_1, summing_2):
    node = make_node(model_control=True)
    node.publish(document(1, sum=endpoint(summing_1), other=endpoint(summing_1)))
    node.start()
    assert post(node, "/v2/repository/models/sum/unload")[0] == 200
    node.publish(document(2, sum=endpoint(summing_2), other=endpoint(summing_2)))
    node.until_event("routes-applied", generation=2)
    assert post(node, "/v2/models/sum/infer", summing_body())[0] == 503
    assert node.stop() == 0
    node.start()
    assert post(node, "/v2/models/sum/infer", summing_body())[0] == 200
    assert node.stop() == 0


def test_with_keys_it_takes_one_that_may_steer(make_node, summing_1):
    steer, call = new_key(), new_key()
    entries = {
        steer[1]: KeyEntry(digest=steer[2], subject="ann", overrides=True),
        call[1]: KeyEntry(digest=call[2], subject="bob"),
    }
    node = make_node(model_control=True)
    node.publish(msgspec.structs.replace(document(1, sum=endpoint(summing_1)), access=Access(keys=entries)))
    node.start()
    for key, status in (("", 401), (call[0], 403), (steer[0], 200)):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        assert post(node, "/v2/repository/models/sum/unload", headers=headers)[0] == status
    assert node.stop() == 0
