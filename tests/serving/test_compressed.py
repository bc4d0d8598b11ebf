"""Compressed bodies: refused by name, not read as broken JSON."""

import gzip
import json

from tests.serving.nodes import summing_body

SUM = summing_body()


def test_compressed_bodies_are_refused_by_name(door):
    for path, body in (("/v2/models/sum/infer", SUM), ("/predict/sum", {"rows": [{"x": [1, 2, 3, 4]}]})):
        packed = gzip.compress(json.dumps(body).encode())
        status, headers, answer = door.call("POST", path, packed, {"Content-Encoding": "gzip"})
        assert (status, json.loads(answer)["code"]) == (415, "unsupported-encoding")
        assert headers["accept-encoding"] == "identity"
        assert door.call("POST", path, json.dumps(body).encode(), {"Content-Encoding": "identity"})[0] == 200
