"""Who has no key: no body of theirs is waited for, guesses are limited, and holders of keys notice nothing."""

import json
import socket

import pytest
from tests.serving.doors import AsgiDoor, NodeDoor, infer
from tests.serving.nodes import LIMIT_S, RunningNode, document, endpoint, read_to_end, replies, summing_body
from tests.serving.test_access_node import KEYS, access, bearer, routes

BODY = json.dumps(summing_body()).encode()


@pytest.fixture(scope="module")
def node(tmp_path_factory, summing_1):
    one = RunningNode(tmp_path_factory.mktemp("strangers"))
    one.publish(routes(1, summing_1, access(all={}, one={"endpoints": ("one",)}, late={"expires_at": 1.0})))
    one.start()
    yield one
    assert one.stop() == 0
    assert not one.events("internal-error")


def head(path=b"/v2/models/one/infer", *lines, length=50_000_000):
    size = b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length
    return b"".join(b"%b\r\n" % line for line in (b"POST %b HTTP/1.1" % path, b"host: x", size, *lines, b""))


def key_line(name):
    return b"authorization: Bearer " + KEYS[name][0].encode()


def said(node, data):
    """Status and code of the one answer to `data`, which is not the whole request."""
    with socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client:
        client.sendall(data)
        ((status, headers, body),) = replies(read_to_end(client))
        assert headers["connection"] == "close"
        return status, json.loads(body)["code"]


@pytest.mark.parametrize("more", [b"", b"x" * 1000], ids=["head", "some-body"])
@pytest.mark.parametrize("length", [50_000_000, None], ids=["length", "chunked"])
@pytest.mark.parametrize("path", [b"/v2/models/one/infer", b"/predict/one?x=1", b"/v2/models/no/infer", b"/metrics"])
def test_the_answer_comes_without_the_body(node, path, length, more):
    if length is None and more:
        more = b"3e8\r\n" + more
    assert said(node, head(path, length=length) + more) == (401, "missing-key")
    assert said(node, head(path, key_line("gone"), length=length) + more) == (401, "invalid-key")
    assert said(node, head(path, key_line("late"), length=length) + more) == (401, "expired-key")


def test_a_key_for_another_endpoint_is_no_key_here(node):
    assert said(node, head(b"/v2/models/two/infer", key_line("one"))) == (403, "endpoint-forbidden")


def test_nobody_without_a_key_is_told_to_continue(node):
    assert said(node, head(b"/predict/one", b"expect: 100-continue")) == (401, "missing-key")


def test_who_has_a_key_sends_a_body_in_pieces(node):
    for line in (key_line("one"), b"x-api-key: " + KEYS["one"][0].encode()):
        whole = head(b"/v2/models/one/infer", line, b"connection: close", length=len(BODY)) + BODY
        with socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(whole)):
                client.sendall(whole[at : at + 1])
            assert replies(read_to_end(client))[0][0] == 200


@pytest.mark.parametrize("name", [b"authorization", b"X-Api-Key", b"penstock-key"])
def test_two_keys_in_one_request_are_refused(node, name):
    good = KEYS["all"][0].encode()
    for pair in ((good, good), (good, b"pk_x"), (b"pk_x", good)):
        lines = [b"%b: Bearer %b" % (name, value) for value in pair]
        assert said(node, head(b"/predict/one", *lines, length=2) + b"{}") == (400, "conflicting-headers")


@pytest.mark.parametrize("door", ["node", "asgi"])
def test_guesses_are_limited_and_keys_behind_the_same_address_are_not(tmp_path, summing_1, door):
    one = RunningNode(tmp_path)
    one.publish(routes(1, summing_1, access(all={}, late={"expires_at": 1.0})))
    opened = NodeDoor(one.start()) if door == "node" else AsgiDoor(one.settings, one.log_path)
    try:
        answers = [infer(opened, "one", summing_body(), bearer("gone")) for _ in range(400)]
        assert [status for status, _, _ in answers[:100]] == 100 * [401]
        refused = [one for one in answers if one[0] == 429]
        assert refused and refused[0][2]["code"] == "too-many-failures"
        assert int(refused[0][1]["retry-after"]) == 1
        # Pages count the same guesses; what is no guess is told as ever.
        assert 429 in {opened.call("GET", "/v2/models/one", headers=bearer("gone"))[0] for _ in range(100)}
        assert infer(opened, "one", summing_body())[0] == 401
        assert infer(opened, "one", summing_body(), bearer("late"))[2]["code"] == "expired-key"
        for _ in range(20):
            assert infer(opened, "one", summing_body(), bearer("all"))[0] == 200
    finally:
        if door == "asgi":
            opened.close()
        assert one.stop() == 0


def test_the_adapter_asks_before_it_reads_on(tmp_path, summing_1):
    one = RunningNode(tmp_path)
    one.publish(routes(1, summing_1, access(all={})))
    opened = AsgiDoor(one.settings, one.log_path)
    try:
        parts = opened.parts_read
        assert infer(opened, "one", summing_body())[0] == 401
        assert opened.parts_read - parts == 1
        assert infer(opened, "one", summing_body(), bearer("all"))[0] == 200
        assert opened.parts_read - parts == 3
    finally:
        opened.close()


def test_an_open_node_asks_nobody(tmp_path, summing_1):
    one = RunningNode(tmp_path)
    one.publish(document(1, one=endpoint(summing_1)))
    one.start()
    try:
        whole = head(b"/predict/one", length=len(BODY)) + BODY
        assert replies(one.raw(whole[:-5]))[0][2].count(b"truncated-request") == 1
    finally:
        assert one.stop() == 0
