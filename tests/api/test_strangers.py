"""Who has no key, at control's doors: no body of theirs is waited for, and guesses are limited."""

import json
import re
import socket

import pytest
from tests.api.conftest import Api, Up
from tests.serving.nodes import LIMIT_S, read_to_end

from penstock.api.app import build_app

WRITES = [
    (method.upper(), re.sub(r"\{\w+\}", "1", path))
    for path, doors in build_app(None).openapi()["paths"].items()
    for method in doors
    if method != "get"
]


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    one = Up(tmp_path_factory.mktemp("h"), "", "--no-node").start()
    yield one
    assert not one.events("internal-error")
    one.close()


def said(up, method, path, *lines):
    """Status and code of the answer to a head alone, whose body never comes."""
    head = [f"{method} {path} HTTP/1.1", "host: x", "content-length: 3000000", "connection: close", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", up.port), LIMIT_S) as client:
        client.sendall("\r\n".join(head).encode())
        first, _, body = read_to_end(client).partition(b"\r\n\r\n")
        return int(first.split()[1]), json.loads(body)["code"]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_the_answer_comes_without_the_body(up, method, path):
    assert said(up, method, path) == (401, "missing-key")
    assert said(up, method, path, "authorization: Bearer pk_x", "expect: 100-continue") == (401, "invalid-key")


def test_a_role_that_may_not_is_told_without_the_body(up):
    viewer = up.api.as_role("viewer")
    assert said(up, "POST", "/v1/keys", f"authorization: Bearer {viewer.key}") == (403, "role-forbidden")


def test_two_keys_in_one_request_are_refused(up):
    good = up.api.key
    for pair in ((good, good), (good, "pk_x"), ("pk_x", good)):
        lines = [f"authorization: Bearer {value}" for value in pair]
        assert said(up, "POST", "/v1/apply", *lines) == (400, "conflicting-headers")


def test_guesses_are_limited_and_keys_behind_the_same_address_are_not(up):
    guess = Api(up.port, up.api.key[:-2] + "xx")
    answers = [guess.request("GET", "/v1/status") for _ in range(400)]
    assert {status for status, _, _ in answers} == {401, 429}
    _, headers, body = next(answer for answer in answers if answer[0] == 429)
    assert (body["code"], headers["retry-after"]) == ("too-many-failures", "1")
    # No guess is answered as ever, and a key is taken at once.
    assert Api(up.port).request("GET", "/v1/status")[0] == 401
    for _ in range(20):
        up.api.get("/v1/status")
