"""HTTP as clients really speak it: pipelined, cut, slow, too large, contradictory. Real sockets, a real node."""

import json
import socket
import time

import numpy as np
import psutil
import pytest
from tests.serving.nodes import LIMIT_S, read_to_end, replies, summing_body, until

from penstock.core.tensors import to_bytes

BODY = json.dumps(summing_body()).encode()
INFER = b"/v2/models/sum/infer"


def post(url=INFER, body=BODY, headers=b"", version=b"1.1"):
    return b"POST %b HTTP/%b\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n%b" % (url, version, len(body), headers, body)


def get(url=b"/v2/health/live", method=b"GET"):
    return b"%b %b HTTP/1.1\r\nhost: x\r\n\r\n" % (method, url)


def is_refused(reply, status, code):
    assert reply[0] == status, reply
    document = json.loads(reply[2])
    assert document["code"] == code
    assert document["error"]


@pytest.fixture(autouse=True)
def answers_afterwards(node):
    yield
    status, _, answer = node.post("/v2/models/sum/infer", summing_body())
    assert (status, answer["outputs"][0]["data"]) == (200, [110.0])


def connect(node):
    return socket.create_connection(("127.0.0.1", node.port), LIMIT_S)


def test_pipelined_requests_are_answered_in_their_order(node):
    bodies = [json.dumps({**summing_body([n, 0, 0, 0]), "id": str(n)}).encode() for n in range(200)]
    got = replies(node.raw(b"".join(post(body=body) + get() for body in bodies)))
    assert [status for status, _, _ in got] == [200] * 400
    infers = [json.loads(body) for _, _, body in got[::2]]
    assert [(reply["id"], reply["outputs"][0]["data"]) for reply in infers] == [
        (str(n), [100.0 + n]) for n in range(200)
    ]
    assert all(json.loads(body) == {"live": True} for _, _, body in got[1::2])


def test_pipelined_requests_larger_than_a_head_may_be(node):
    one = post(headers=b"x-filler: %b\r\n" % (b"f" * 3_000))
    got = replies(node.raw(one * 100))
    assert [status for status, _, _ in got] == [200] * 100


def test_a_client_may_close_its_sending_side_and_still_gets_its_answers(node):
    assert [status for status, _, _ in replies(node.raw(post() * 3))] == [200] * 3


@pytest.mark.parametrize("cut", [5, 40, 100, -1])
def test_a_request_that_ends_early(node, cut):
    got = replies(node.raw(post() + post()[:cut]))
    assert got[0][0] == 200
    if cut > 6:
        assert len(got) == 2
        is_refused(got[1], 400, "truncated-request")
        assert got[1][1]["connection"] == "close"
    if cut == -1:
        is_refused(replies(node.raw(post()[:cut]))[0], 400, "truncated-request")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /v2 HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /v2 HTTP/1.1\r\nbad header: x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: x\r\n folded\r\n\r\n", b"GET /v2 HTTP/1.1\r\n: x\r\n\r\n",
        b"GET /v2 HTTP/1.1\r\nhost: \x00\r\n\r\n", b"GET /v\x01 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5x\r\n\r\nhello" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 1_0\r\n\r\nhellohello" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5, 6\r\n\r\nhello!" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n" % INFER,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n" % INFER,
    ],
)  # fmt: skip
def test_what_is_no_http(node, data):
    got = replies(node.raw(data))
    assert len(got) == 1
    is_refused(got[0], 400, "invalid-http")
    assert got[0][1]["connection"] == "close"


@pytest.mark.parametrize("name", [b"host", b"Inference-Header-Content-Length"])
def test_headers_that_contradict_each_other(node, name):
    got = replies(node.raw(post(headers=b"%b: 5\r\n%b: 6\r\n" % (name, name))))
    is_refused(got[0], 400, "conflicting-headers")


def test_a_smuggled_request_is_not_answered(node):
    hidden = get(b"/metrics")
    data = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % (
        INFER,
        5,
    )
    got = replies(node.raw(data + hidden))
    assert [status for status, _, _ in got] == [400]


def test_chunked_bodies(node):
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (1, BODY[at : at + 1]) for at in range(len(BODY)))
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % INFER
    trailers = b"0\r\nInference-Header-Content-Length: 3\r\nx-request-id: trailer\r\n\r\n"
    got = replies(node.raw(head + chunks + trailers))
    assert got[0][0] == 200
    # A trailer is not a header.
    assert got[0][1]["x-request-id"] != "trailer"


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"deflate,chunked", b"GZip , Chunked", b"x;q=1, br, chunked"])
def test_transfer_codings_that_are_not_known(node, coding):
    got = replies(node.raw(b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: %b\r\n\r\n0\r\n\r\n" % (INFER, coding)))
    assert len(got) == 1
    is_refused(got[0], 501, "unknown-transfer-coding")
    assert got[0][1]["connection"] == "close"


def test_trailers_and_extensions_without_end(node):
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % INFER
    for rest in (b"0\r\n" + b"a: b\r\n" * 500_000, b"1;" + b"x" * 3_000_000, b"0\r\na: " + b"x" * 3_000_000):
        got = replies(node.raw(head + rest))
        assert got[0][0] in (400, 431)


def test_bodies_beyond_the_limit(node):
    is_refused(replies(node.raw(post(b"/v2/models/small/infer", b"x" * 2_001)))[0], 413, "body-too-large")
    # Said at once, before the body is read: the client may be in the middle of 2 MB.
    got = replies(node.raw(post(body=b"x" * 2_000_000), finish=False))
    is_refused(got[0], 413, "body-too-large")
    assert len(got) == 1


@pytest.mark.parametrize(
    "url",
    [
        b"/v2/models/small/infer?x=1",
        b"/v2/models/small/versions/1/infer",
        b"/predict/sm%61ll",
        b"http://a/predict/small",
    ],
)
def test_the_limit_of_an_endpoint_holds_however_its_address_is_spelled(node, url):
    is_refused(replies(node.raw(post(url, b"x" * 2_001)))[0], 413, "body-too-large")


def test_chunked_bodies_beyond_the_limit(node):
    head = b"POST /v2/models/small/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    for chunks in (
        b"7d1\r\n" + b"x" * 2001 + b"\r\n0\r\n\r\n",
        b"3e8\r\n" + b"x" * 1000 + b"\r\n",
        b"1\r\nx\r\n" * 2001,
    ):
        data = head + chunks * 3 if chunks.startswith(b"3e8") else head + chunks
        is_refused(replies(node.raw(data, finish=False))[0], 413, "body-too-large")


def test_a_client_that_sends_everything_before_it_reads_still_sees_why(node):
    with connect(node) as client:
        client.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n" % INFER)
        for _ in range(64):
            client.sendall(b"x" * 65_536)
        is_refused(replies(read_to_end(client))[0], 413, "body-too-large")


def test_huge_heads(node):
    for data in (
        b"GET /v2 HTTP/1.1\r\n" + b"x-a: b\r\n" * 100_000,
        b"GET /v2 HTTP/1.1\r\nx-a: " + b"b" * 1_000_000,
        b"GET /" + b"v" * 1_000_000,
    ):
        is_refused(replies(node.raw(data, finish=False))[0], 431, "head-too-large")


def test_expect_100_continue(node):
    with connect(node) as client:
        whole = post(headers=b"expect: 100-continue\r\n")
        client.sendall(whole[: -len(BODY)])
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(BODY)
        client.shutdown(socket.SHUT_WR)
        assert replies(read_to_end(client))[0][0] == 200
    # Not asked for a body that will be refused.
    head = b"POST /v2/models/small/infer HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9999\r\n\r\n"
    is_refused(replies(node.raw(head, finish=False))[0], 413, "body-too-large")


def test_the_100_comes_after_the_answers_to_earlier_requests(node):
    got = replies(node.raw(post() * 5 + post(headers=b"expect: 100-continue\r\n")))
    assert [status for status, _, _ in got] == [200] * 5 + [100, 200]


def test_head_is_get_without_a_body(node):
    data = node.raw(get(b"/v2/health/live", b"HEAD") + get(b"/v2/models/sum", b"HEAD") + get(b"/v2/health/live"))
    first, second, third = data.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.endswith(b"content-length: 13\r\n\r\n")
    assert second.endswith(b"\r\n\r\n")
    assert third.endswith(b'\r\n\r\n{"live":true}')
    refused = node.raw(get(INFER, b"HEAD"))
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert refused.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        (b"PUT", INFER, "post"), (b"GET", INFER, "post"), (b"DELETE", b"/v2/models/sum", "get, head"),
        (b"POST", b"/v2/health/live", "get, head"), (b"OPTIONS", b"/predict/sum", "post"),
        (b"POST", b"/metrics", "get, head"), (b"PATCH", b"/v2", "get, head"),
    ],
)  # fmt: skip
def test_wrong_methods(node, method, path, allowed):
    (reply,) = replies(node.raw(get(path, method)))
    is_refused(reply, 405, "wrong-method")
    assert reply[1]["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [b"/v2/models/%zz/infer", b"/v2/models/%/infer", b"/v2/models/%ff%fe/infer", b"/v2/models/%00/infer",
     b"/%2e%2e/%2e%2e/etc", b"//v2//models//sum", b"/v2/models/\xff/infer", b"/nothing", b"/v2/models/sum/infer/x"],
)  # fmt: skip
def test_bad_paths(node, path):
    (reply,) = replies(node.raw(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % path))
    if reply[0] == 400:
        is_refused(reply, 400, "invalid-http")
    else:
        is_refused(reply, 404, json.loads(reply[2])["code"])
        assert json.loads(reply[2])["code"] in ("unknown-address", "unknown-endpoint")


def test_encoded_and_absolute_urls_lead_where_they_say(node):
    for url in (
        b"/v2/models/s%75m/infer",
        b"/v2/models/sum/infer?x=%zz",
        b"http://x/v2/models/sum/infer",
        b"/v2/models/sum/infer/",
    ):
        assert replies(node.raw(post(url)))[0][0] == 200, url


def test_an_upgrade_is_not_taken_up(node):
    for upgrade in (
        b"connection: upgrade\r\nupgrade: websocket\r\n",
        b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n",
    ):
        got = replies(node.raw(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n%b\r\nrest of another protocol" % upgrade))
        assert [(status, json.loads(body)) for status, _, body in got] == [(200, {"live": True})]
    got = replies(node.raw(b"CONNECT other:443 HTTP/1.1\r\nhost: other\r\n\r\nsecret"))
    assert [status for status, _, _ in got] in ([404], [405], [400])


def test_http_1_0_and_connection_close(node):
    for data in (post(version=b"1.0"), post(headers=b"connection: close\r\n")):
        got = replies(node.raw(data, finish=False))
        assert [(status, headers["connection"]) for status, headers, _ in got] == [(200, "close")]
    # What comes after the last request is not answered.
    assert len(replies(node.raw(post(headers=b"connection: close\r\n") + post()))) == 1


# ---- slow clients, of a node of their own: its patience would be too short for clients on a slow machine


@pytest.mark.parametrize(
    "whole",
    [
        b"GET /" + b"v" * 1000,
        b"GET /v2 HTTP/1.1\r\nx: " + b"y" * 1000,
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" % INFER + b"[" * 1000,
        b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % INFER + b"1\r\nx\r\n" * 1000,
    ],
    ids=["url", "head", "body", "chunks"],
)
def test_a_client_that_sends_slowly_is_told_and_let_go(impatient, whole):
    began = time.monotonic()
    with connect(impatient) as client:
        client.setblocking(False)
        data, at = b"", 0
        while time.monotonic() - began < LIMIT_S:
            try:
                if not (part := client.recv(65_536)):
                    break
                data += part
            except BlockingIOError:
                if not data:
                    client.send(whole[at : at + 1])
                    at += 1
                else:
                    client.setblocking(True)
            time.sleep(0.02)
    took = time.monotonic() - began
    is_refused(replies(data)[0], 408, "request-timeout")
    assert took >= 1.0


def test_an_idle_connection_is_closed(impatient):
    with connect(impatient) as client:
        began = time.monotonic()
        assert client.recv(10) == b""
        assert time.monotonic() - began >= 2.5
    with connect(impatient) as client:
        client.sendall(b"\r\n\r\n\r\n")
        assert client.recv(10) == b""


def test_a_client_that_does_not_read_is_let_go(impatient):
    body = json.dumps(
        {"inputs": [{"name": "x", "shape": [2000, 2], "datatype": "FP64", "data": [1.125] * 4000}]}
    ).encode()
    one = post(b"/v2/models/same/infer", body)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", impatient.port))
        client.settimeout(0.5)
        with pytest.raises(OSError):
            for _ in range(2_000):
                client.sendall(one)

        def is_gone():
            try:
                client.send(b"x")
            except TimeoutError:
                return False
            except OSError:
                return True
            return False

        until(is_gone, what="the end of the connection")


def test_a_client_that_asks_once_and_does_not_read_is_let_go(impatient):
    # Nothing of a next request is there, so that only what was not read can be why. In: 1 MB; out: three.
    raw = to_bytes(np.full((60_000, 2), -1.2345678901234567e-123))
    tensor = {"name": "x", "shape": [60_000, 2], "datatype": "FP64", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = b"inference-header-content-length: %d\r\n" % len(head)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", impatient.port))
        client.sendall(post(b"/v2/models/same/infer", head + raw, length))

        def is_held():
            # Asked of the node: its end of the connection cannot be told to a client that takes no bytes.
            held = psutil.Process(impatient.process.pid).net_connections("tcp")
            return any(one.raddr and one.raddr.port == client.getsockname()[1] for one in held)

        until(is_held)
        until(lambda: not is_held(), what="the end of the connection")


def test_a_vanished_client_harms_nobody(node):
    for cut in (10, 60, len(post())):
        with connect(node) as client:
            client.sendall((post() * 20)[: cut if cut < len(post()) else None])
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
