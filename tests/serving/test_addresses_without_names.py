"""Addresses that name no model, bodies that do, and pages that break: whose limit, whose words, and always a reply."""

import gzip
import json

import msgspec
import pytest
from tests.serving.nodes import RunningNode, document, endpoint, replies, summing_body
from tests.serving.test_openai import embedding

from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key

SUM = summing_body()


def post(node, path, body, headers=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, _, answer = node.request("POST", path, data, headers or {})
    return status, json.loads(answer)


@pytest.fixture(scope="module")
def node(tmp_path_factory, summing_1, summing_2):
    folder = tmp_path_factory.mktemp("nameless")
    running = RunningNode(folder / "node", model_control=True)
    one, two = (endpoint(embedding(folder / name)) for name in ("one", "two"))
    small = msgspec.structs.replace(two, limits=msgspec.structs.replace(two.limits, max_body_bytes=300))
    default = msgspec.structs.replace(endpoint(summing_1), default=True)
    running.publish(document(1, sum=default, other=endpoint(summing_2), one=one, small=small))
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


def test_a_compressed_body_names_its_model_too(node):
    for pack, headers in ((bytes, {}), (gzip.compress, {"content-encoding": "gzip"})):
        body = pack(json.dumps({"model": "one", "input": "two"}).encode())
        status, answer = post(node, "/v1/embeddings", body, headers)
        assert (status, answer["model"], answer["data"][0]["embedding"]) == (200, "one", [2.0, 2.0])


def test_the_limit_is_the_named_endpoint_s(node):
    for model, status in (("one", 200), ("small", 413)):
        for pack, headers in ((bytes, {}), (gzip.compress, {"content-encoding": "gzip"})):
            body = pack(json.dumps({"model": model, "input": "x" * 1000}).encode())
            assert post(node, "/v1/embeddings", body, headers)[0] == status, model


def test_an_unloaded_default_is_nobody_else(node):
    rows = {"instances": [{"x": [1, 2, 3, 4]}]}
    assert post(node, "/invocations", rows)[0] == 200
    for name in ("sum", "other", "one"):
        assert post(node, f"/v2/repository/models/{name}/unload", b"")[0] == 200
    try:
        status, answer = post(node, "/invocations", rows)
        assert status == 503
        assert "sum is not loaded" in json.dumps(answer)
        assert b'"END"' in node.get("/v1/models/sum")[2]
        for path in ("/v1/models/sum/metadata", "/v2/models/sum/stats", "/openai/v1/models/sum"):
            assert node.get(path)[0] == 503, path
    finally:
        for name in ("sum", "other", "one"):
            assert post(node, f"/v2/repository/models/{name}/load", b"")[0] == 200
    assert post(node, "/invocations", rows)[0] == 200


def test_head_of_an_empty_page_has_a_head(node):
    got = replies(node.raw(b"HEAD /ping HTTP/1.1\r\nhost: x\r\n\r\n"))
    assert [(status, headers["content-length"]) for status, headers, _ in got] == [(200, "0")]


@pytest.mark.parametrize("url", ["/proc", "/" + "x" * 5000, "/nowhere"])
def test_a_folder_that_cannot_be_read_is_no_bundle(node, url):
    assert post(node, "/models", {"model_name": "new", "url": url})[0] in (400, 404)


@pytest.mark.parametrize("depth", [300, 600, 900, 5000])
def test_deep_bodies_are_the_caller_s_mistake(node, depth):
    body = b'{"dataframe_records": [{"x": 1}], "params": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    for path in ("/invocations", "/score", "/v1/endpoints/1/deployedModels/2:predict"):
        assert 400 <= post(node, path, body)[0] < 500


def test_a_key_hears_of_its_endpoints_alone(make_node, summing_1):
    key = new_key()
    entry = KeyEntry(digest=key[2], subject="ann", endpoints=("mine",))
    node = make_node()
    routes = document(1, mine=endpoint(summing_1), hidden=endpoint(summing_1), secret=endpoint(summing_1))
    node.publish(msgspec.structs.replace(routes, access=Access(keys={key[1]: entry})))
    node.start()
    for path in ("/invocations", "/score", "/v1/embeddings"):
        status, answer = post(node, path, SUM, {"authorization": f"Bearer {key[0]}"})
        assert status == 400
        said = json.dumps(answer)
        assert "mine" in said
        assert "hidden" not in said
        assert "secret" not in said
    assert node.stop() == 0


def test_no_body_is_inflated_for_who_has_no_key(make_node, summing_1):
    key = new_key()
    node = make_node()
    access = Access(keys={key[1]: KeyEntry(digest=key[2], subject="ann")})
    node.publish(msgspec.structs.replace(document(1, sum=endpoint(summing_1)), access=access))
    node.start()
    damaged = {"content-encoding": "gzip"}
    for path in ("/v1/embeddings", "/openai/v1/embeddings"):
        assert node.request("PUT", path, b"no gzip", damaged)[0] == 401
        status, answer = post(node, path, b"no gzip", damaged)
        assert (status, answer["error"]["code"]) == (401, "missing-key")
        keyed = {**damaged, "authorization": f"Bearer {key[0]}"}
        assert node.request("PUT", path, b"no gzip", keyed)[0] == 405
        status, answer = post(node, path, b"no gzip", keyed)
        assert (status, answer["error"]["code"]) == (400, "invalid-encoding")
    assert node.stop() == 0
