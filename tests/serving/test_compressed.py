"""Compressed bodies, both ways and through every door."""

import gzip
import json
import zlib

import msgspec
import pytest
from tests.serving.nodes import RunningNode, document, endpoint, summing_body

from penstock.core.routes import Access, KeyEntry
from penstock.security.keys import new_key

KEY = new_key()

SUM = json.dumps(summing_body()).encode()
ROWS = json.dumps({"rows": [{"x": [1, 2, 3, 4]}]}).encode()


def test_a_compressed_body_is_answered_like_any_other(door):
    for path, body in (("/v2/models/sum/infer", SUM), ("/predict/sum", ROWS)):
        plain = door.call("POST", path, body, {"x-request-id": "one", "Content-Encoding": "identity"})
        for coding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress)):
            found = door.call("POST", path, pack(body), {"Content-Encoding": coding, "x-request-id": "one"})
            assert (found[0], json.loads(found[2])) == (200, json.loads(plain[2]))


def test_an_unknown_coding_and_a_broken_body_are_told_by_name(door):
    for body, coding, status, code in (
        (SUM, "br", 415, "unsupported-encoding"), (SUM, "gzip", 400, "invalid-encoding"),
        (gzip.compress(bytes(65 * 2**20)), "gzip", 413, "body-too-large"),
    ):  # fmt: skip
        found, headers, answer = door.call("POST", "/v2/models/sum/infer", body, {"Content-Encoding": coding})
        assert (found, json.loads(answer)["code"]) == (status, code)
        assert ("accept-encoding" in headers) == (status == 415)


@pytest.fixture(scope="module")
def steered(tmp_path_factory, summing_1):
    node = RunningNode(tmp_path_factory.mktemp("steered"), model_control=True)
    keys = Access(keys={KEY[1]: KeyEntry(digest=KEY[2], subject="ann", overrides=True)})
    node.publish(msgspec.structs.replace(document(1, sum=endpoint(summing_1)), access=keys))
    node.start()
    yield node
    assert node.stop() == 0
    assert not node.events("internal-error")


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/repository/models/sum/load",
                                  "/v2/repository/models/sum/unload", "/models"])  # fmt: skip
def test_a_page_reads_a_compressed_body_once_the_key_is_known(steered, summing_1, path):
    wish = {"model_name": "sum", "url": str(summing_1.directory)} if path == "/models" else {"ready": True}
    body = json.dumps(wish).encode()
    key = {"x-api-key": KEY[0]}
    plain = steered.request("POST", path, body, key)
    try:
        for coding, pack in (("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)):
            found = steered.request("POST", path, pack(body), {**key, "content-encoding": coding})
            assert (found[0], found[2]) == (plain[0], plain[2])
        for packed, coding, status, code in (
            (body, "br", 415, "unsupported-encoding"), (body, "gzip", 400, "invalid-encoding"),
            (gzip.compress(bytes(2 * 2**20)), "gzip", 413, "body-too-large"),
        ):  # fmt: skip
            found = steered.request("POST", path, packed, {**key, "content-encoding": coding})
            # MLflow's form of a 415 is text.
            said = code if status == 415 and path == "/models" else json.loads(found[2])["code"]
            assert (found[0], said) == (status, code)
            assert steered.request("POST", path, packed, {"content-encoding": coding})[0] == 401
            assert steered.request("PUT", path, packed, {**key, "content-encoding": coding})[0] == 405
    finally:
        assert steered.request("POST", "/v2/repository/models/sum/load", b"", key)[0] == 200


def test_a_large_answer_is_packed_for_who_takes_it(door):
    rows = json.dumps({"rows": [{"x": [1, 2, 3, 4]}] * 2000}).encode()
    status, headers, answer = door.call("POST", "/predict/sum", rows, {"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert int(headers["content-length"]) == len(answer)
    plain = door.call("POST", "/predict/sum", rows, {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain[1]
    assert json.loads(gzip.decompress(answer))["predictions"] == json.loads(plain[2])["predictions"]
