"""Compressed bodies, both ways and through every door."""

import gzip
import json
import zlib

from tests.serving.nodes import summing_body

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


def test_a_large_answer_is_packed_for_who_takes_it(door):
    rows = json.dumps({"rows": [{"x": [1, 2, 3, 4]}] * 2000}).encode()
    status, headers, answer = door.call("POST", "/predict/sum", rows, {"Accept-Encoding": "gzip"})
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert int(headers["content-length"]) == len(answer)
    plain = door.call("POST", "/predict/sum", rows, {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain[1]
    assert json.loads(gzip.decompress(answer))["predictions"] == json.loads(plain[2])["predictions"]
