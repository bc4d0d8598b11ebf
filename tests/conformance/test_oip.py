"""The cases of the Open Inference Protocol: our node passes them all, and servers that do otherwise are found out."""

import json

import httpx
import pytest
from tests.serving.bundles import identity, summing, two_inputs
from tests.serving.nodes import RunningNode, document, endpoint

from penstock.conformance.case import Server
from penstock.conformance.run import CONTRACTS, run

METADATA = {
    "name": "m", "platform": "p", "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP64", "shape": [-1]}],
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance")
    running = RunningNode(folder / "node")
    same = {
        f"same-{datatype.lower()}": endpoint(identity(folder / datatype, datatype, (-1, 2)))
        for datatype in ("INT64", "UINT64", "BOOL", "BYTES", "FP32")
    }
    running.publish(
        document(1, sum=endpoint(summing(folder / "sum", 1.0)), pair=endpoint(two_inputs(folder / "pair")), **same)
    )
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


def asked(node, model, **more):
    server = Server(f"http://127.0.0.1:{node.port}", model=model, **more)
    try:
        return run("oip", server)
    finally:
        server.close()


@pytest.mark.parametrize("model", ["sum", "pair", "same-int64", "same-uint64", "same-bool", "same-bytes", "same-fp32"])
def test_a_node_keeps_every_clause(node, model):
    outcomes = asked(node, model, identity=model if model.startswith("same") else "")
    assert not [one for one in outcomes if one.verdict == "failed"]
    assert sum(one.verdict == "passed" for one in outcomes) >= 20


def test_each_case_is_asked_of_some_model(node):
    passed = set()
    for model in ("sum", "pair", "same-int64", "same-bool", "same-bytes"):
        passed |= {one.name for one in asked(node, model, identity=model) if one.verdict == "passed"}
    assert passed == {case.name for case in CONTRACTS["oip"]}


def answers(request, **wrong):
    """A server that keeps nothing but what is asked first; `wrong` overrides the answer of a call."""
    path = request.url.path
    if path.endswith("/infer") and "no-such" not in path:
        sent = json.loads(request.content)
        rows = sent["inputs"][0]["shape"][0]
        output = {"name": "y", "datatype": "FP64", "shape": [rows], "data": [0.5] * rows}
        return httpx.Response(200, json={"model_name": "m", "model_version": "1", "outputs": [output], **wrong})
    if path in ("/v2/models/m", "/v2/models/m/ready", "/v2/health/live"):
        return httpx.Response(200, json=METADATA)
    return httpx.Response(500, text="a trace")


def found(**wrong):
    server = Server(
        "http://server", model="m", transport=httpx.MockTransport(lambda request: answers(request, **wrong))
    )
    return {one.name: one for one in run("oip", server)}


def test_what_a_careless_server_does_is_told():
    outcomes = found(model_version=1)
    failed = {name for name, one in outcomes.items() if one.verdict == "failed"}
    for said in (
        "model_version, where there is one, is a string", "the request's id comes back", "an unknown output is refused",
        "an unknown model is not ready, and neither known nor callable", "GET /v2/health/ready answers 200",
        "lengths that lie are refused: larger than the body, not a number, sizes that do not add up",
        'what is no request is refused with {"error"}',
    ):  # fmt: skip
        assert said in failed, said
    assert outcomes["GET /v2/health/live answers 200"].verdict == "passed"
    # An answer in another shape, or none at all, is the server's failure and no trace of ours.
    assert found(outputs=5)["only the outputs that are asked for come, in any order of calls"].verdict == "failed"
    server = Server("http://127.0.0.1:9", model="m")
    assert {one.verdict for one in run("oip", server)} <= {"failed", "skipped"}


def test_every_case_names_its_clause_once():
    for contract, cases in CONTRACTS.items():
        assert len({case.name for case in cases}) == len(cases), contract
        assert all(case.clause and case.name for case in cases)
