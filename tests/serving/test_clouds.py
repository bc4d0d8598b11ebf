"""The contracts of MLflow, SageMaker, Vertex AI and Azure ML at a real node."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.serving.nodes import document, endpoint, until

from penstock.conformance.case import Server
from penstock.conformance.run import run
from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key

SLOW = (
    "import time\nclass Model:\n    def predict(self, x, parameters=None):\n        time.sleep(0.2)\n"
    "        return x.sum(axis=1).astype('float64') + (parameters or {}).get('plus', 0)\n"
)
X = [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory, summing_1):
    """A node with one endpoint, which all addresses without a model's name are about, and paths of its own."""
    from tests.serving.nodes import RunningNode

    aliases = {"/alive": "/ping", "/": "/ping", "/ask": "/v1/endpoints/0/deployedModels/0:predict"}
    running = RunningNode(tmp_path_factory.mktemp("cloud"), aliases={**aliases, "/score": aliases["/ask"]})
    running.publish(document(1, sum=endpoint(summing_1)))
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


@pytest.mark.parametrize("contract", ["mlflow", "sagemaker", "azure", "vertex"])
def test_the_node_keeps_the_contract(cloud, contract):
    names = ["a", "b", "c", "d"]
    example = {"instances": X} if contract == "vertex" else {"dataframe_split": {"columns": names, "data": X}}
    server = Server(f"http://127.0.0.1:{cloud.port}", example=example)
    try:
        outcomes = run(contract, server)
    finally:
        server.close()
    assert outcomes and [(one.name, one.reason) for one in outcomes if one.verdict == "failed"] == []


def test_every_address_answers_the_same(cloud):
    for path, body in (
        ("/invocations", {"inputs": X}),
        ("/invocations/", {"instances": X}),
        ("/models/sum/invoke", {"inputs": X}),
        ("/score", {"instances": X}),
        ("/v1/endpoints/5/deployedModels/77:predict", {"instances": X}),
        ("/ask", {"instances": X}),
    ):
        assert cloud.post(path, body)[::2] == (200, {"predictions": [110.0, 126.0]}), path
    assert cloud.post("/score", {"input_data": X})[2] == [110.0, 126.0]
    assert cloud.post("/models/other/invoke", {"inputs": X})[0] == 404


def test_health_by_each_name_and_a_path_that_stands_for_it(cloud):
    for path in ("/ping", "/alive", "/", "/v1/endpoints/5/deployedModels/77"):
        status, headers, body = cloud.get(path)
        assert (status, body, "content-type" in headers) == (200, b"", True), path
        assert cloud.request("POST", path)[0] == 405
    assert cloud.get("/health")[::2] == (200, b"\n")


def test_a_path_that_is_a_contract_s_own_stays_that(cloud):
    # The environment gave Vertex AI's route that of Azure ML.
    assert cloud.post("/score", {"data": X})[2] == [110.0, 126.0]


def test_the_caller_finds_his_headers_again(cloud):
    csv = {"content-type": "text/csv", "accept": "text/csv", "x-amzn-sagemaker-custom-attributes": "trace=a,b"}
    status, headers, body = cloud.request("POST", "/invocations", b"1,2,3,4\n5,6,7,8\n", csv)
    assert (status, body, headers["content-type"]) == (200, b"110.0\n126.0\n", "text/csv; charset=utf-8")
    assert headers["x-amzn-sagemaker-custom-attributes"] == "trace=a,b"
    status, headers, body = cloud.request("POST", "/invocations", b"x", {"content-type": "text/plain"})
    assert (status, headers["content-type"]) == (415, "text/plain; charset=utf-8")
    assert "text/csv" in headers["accept"]


def test_batch_transform_learns_what_fits(cloud, node):
    found = json.loads(cloud.get("/execution-parameters")[2])
    assert found == {"MaxConcurrentTransforms": 16, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
    # The smallest endpoint of the other node takes 2 000 bytes, and no less than 1 MB can be said.
    assert json.loads(node.get("/execution-parameters")[2])["MaxPayloadInMB"] == 1


def test_several_endpoints_without_a_default_have_to_be_named(node):
    for path in ("/invocations", "/score"):
        status, _, found = node.post(path, {"inputs": X})
        assert (status, found["error_code"], found["code"]) == (400, "BAD_REQUEST", "no-default-endpoint")
    assert node.post("/v1/endpoints/5/deployedModels/77:predict", {"instances": X})[2]["code"] == "no-default-endpoint"
    assert node.post("/models/sum/invoke", {"inputs": X})[0] == 200


def test_models_of_a_container_with_several(node, summing_1):
    found = json.loads(node.get("/models")[2])["models"]
    assert {"modelName": "sum", "modelUrl": str(summing_1.directory)} in found
    assert json.loads(node.get("/models/sum")[2])["modelName"] == "sum"
    assert node.get("/models/other")[0] == 404
    for method, path, body in (("POST", "/models", b'{"model_name":"a","url":"/b"}'), ("DELETE", "/models/sum", None)):
        status, _, answer = node.request(method, path, body)
        assert (status, json.loads(answer)["code"]) == (403, "model-control-off")


def test_models_are_loaded_and_unloaded_by_request(make_node, summing_1, tmp_path):
    running = make_node(model_control=True)
    running.publish(document(1))
    running.start()
    assert json.loads(running.get("/models")[2]) == {"models": []}
    name = "0123456789abcdef"
    wish = {"model_name": name, "url": str(summing_1.directory.parent / summing_1.directory.name)}
    assert running.post("/models", wish)[0] == 200
    assert running.post(f"/models/{name}/invoke", {"inputs": X})[2] == {"predictions": [110.0, 126.0]}
    assert running.post("/models", wish)[0] == 409
    for wrong, status in (({**wish, "model_name": "b", "url": str(tmp_path)}, 404), ({"url": "/a"}, 400), (b"{", 400)):
        assert running.post("/models", wrong)[0] == status
    for relative in ("", ".", "..", "bundles", "file:///opt/ml"):
        status, _, found = running.post("/models", {"model_name": "b", "url": relative})
        assert (status, found["code"]) == (400, "relative-model-url")
    assert running.request("DELETE", f"/models/{name}")[0] == 200
    assert running.request("DELETE", f"/models/{name}")[0] == 404
    assert running.get(f"/models/{name}")[0] == 404


def test_a_confined_key_loads_nothing_else(make_node, summing_1):
    key = new_key()
    entry = KeyEntry(digest=key[2], subject="ann", endpoints=("mine",), overrides=True)
    running = make_node(model_control=True)
    routes = document(1, hidden=endpoint(summing_1))
    running.publish(msgspec.structs.replace(routes, access=Access(keys={key[1]: entry})))
    running.start()
    headers = {"x-api-key": key[0]}
    for name, status in (("hidden", 403), ("none", 403), ("mine", 200), ("mine", 409)):
        wish = {"model_name": name, "url": str(summing_1.directory)}
        assert running.post("/models", wish, headers)[0] == status, name
    assert running.stop() == 0


def test_ping_answers_at_once_while_a_model_is_busy_and_parameters_reach_it(make_node, tmp_path):
    from tests.serving.bundles import python_bundle

    running = make_node()
    running.publish(document(1, slow=endpoint(python_bundle(tmp_path / "slow", SLOW), limits={"max_wait_ms": 60_000})))
    running.start()
    with ThreadPoolExecutor(12) as pool:
        calls = [
            pool.submit(running.post, "/invocations", {"inputs": X, "params": {"plus": number}}) for number in range(12)
        ]
        until(lambda: running.get("/metrics")[2].count(b"\n"))
        slowest = 0.0
        while not all(call.done() for call in calls):
            began = time.monotonic()
            assert running.get("/ping")[::2] == (200, b"")
            slowest = max(slowest, time.monotonic() - began)
    assert 0 < slowest < 2
    for number, call in enumerate(calls):
        assert call.result()[::2] == (200, {"predictions": [10.0 + number, 26.0 + number]})


def test_a_node_that_listens_while_it_loads_says_so(make_node, tmp_path, summing_1):
    from tests.serving.bundles import python_bundle

    source = f"import pathlib, time\nclass Model:\n    def load(self, directory):\n        while not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n            time.sleep(0.01)\n    def predict(self, x):\n        return x.sum(axis=1).astype('float64')\n"  # noqa: E501
    running = make_node(early=True)
    running.publish(document(1, slow=endpoint(python_bundle(tmp_path / "held", source))))
    running.start(wait="live")
    for path in ("/ping", "/health", "/v1/endpoints/1/deployedModels/2", "/v2/health/ready"):
        assert running.get(path)[0] == 503, path
    status, _, found = running.post("/v1/endpoints/1/deployedModels/2:predict", {"instances": X})
    assert (status, found["code"]) == (503, "node-starting")
    assert running.post("/invocations", {"inputs": X})[2]["error_code"] == "TEMPORARILY_UNAVAILABLE"
    (tmp_path / "go").touch()
    until(lambda: running.get("/ping")[0] == 200)
    assert running.post("/invocations", {"inputs": X})[2] == {"predictions": [10.0, 26.0]}


def test_health_is_open_where_calls_need_a_key(make_node, summing_1):
    running = make_node(require_key=True)
    running.publish(document(1, sum=endpoint(summing_1)))
    running.start()
    for path in ("/ping", "/health", "/version", "/execution-parameters", "/v1/endpoints/1/deployedModels/2"):
        assert running.get(path)[0] == 200, path
    for method, path in (("GET", "/models"), ("POST", "/models"), ("GET", "/models/sum"), ("POST", "/invocations"),
                         ("POST", "/score"), ("POST", "/v1/endpoints/1/deployedModels/2:predict")):  # fmt: skip
        assert running.request(method, path, b"{}")[0] == 401, path
