"""Thousands of broken conversations with one node: it refuses, it never fails, and it goes on answering right."""

import itertools
import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.bundles import summing, two_inputs
from tests.serving.nodes import LIMIT_S, RunningNode, document, endpoint, read_to_end, replies, summing_body

from penstock.serving.http.door import HttpLimits

BODY = json.dumps({**summing_body(), "id": "i", "parameters": {"n": 1}, "outputs": [{"name": "predictions"}]}).encode()
REQUEST = (
    b"POST /v2/models/sum/infer HTTP/1.1\r\nhost: x\r\nx-request-id: r\r\npenstock-timeout-ms: 9000\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
)
CHUNKED = (
    b"POST /v2/models/sum/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\na: b\r\n\r\n"
    % (len(BODY), BODY)
)
PIECES = [
    b"\r\n", b"\n", b"\0", b" ", b":", b"chunked", b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"\xff",
    b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", b"-1", b"99999999999999999999", b"{", b"[", b'"', b"%00", b"\\u0000",
    b"Inference-Header-Content-Length: 7\r\n", b"expect: 100-continue\r\n", b"connection: close\r\n", b"HTTP/1.0",
]  # fmt: skip
SETTINGS = settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    limits = HttpLimits(max_body_bytes=100_000, max_head_bytes=8_192)
    running = RunningNode(folder / "node", http=limits)
    running.publish(
        document(1, sum=endpoint(summing(folder / "sum", 100.0)), pair=endpoint(two_inputs(folder / "pair")))
    )
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


def refuses_or_answers_right(node, data):
    """Send bytes, close the sending side, and judge everything that comes back."""
    with socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            got = read_to_end(client)
        except (BrokenPipeError, ConnectionResetError):
            return
    # Of HEAD only the head comes back, which `replies` would take for a cut reply.
    if b"HEAD" in data:
        return
    for status, headers, body in replies(got):
        assert status in (100, 200, 400, 404, 405, 408, 413, 431, 501, 504), (status, body)
        if status == 200 and b'"model_name":"sum"' in body and "inference-header-content-length" not in headers:
            assert json.loads(body)["outputs"][0]["shape"][0] >= 1
        elif status >= 400:
            # In the form of whichever contract the changed address belongs to.
            told = json.loads(body) if headers["content-type"] == "application/json" else {"message": body}
            assert told.get("error") or told.get("message"), body


@st.composite
def changed(draw, whole):
    """A good conversation with a few places cut, doubled or overwritten."""
    data = whole
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from(PIECES) | st.binary(max_size=4))
        data = data[:at] + new + data[at + draw(st.integers(0, 6)) :]
    return data


@SETTINGS
@given(data=changed(REQUEST) | changed(CHUNKED) | changed(REQUEST + CHUNKED + REQUEST))
def test_changed_requests(node, data):
    refuses_or_answers_right(node, data)


@SETTINGS
@given(data=st.binary(max_size=300))
def test_noise(node, data):
    refuses_or_answers_right(node, data)


@SETTINGS
@given(cuts=st.lists(st.integers(1, len(REQUEST + CHUNKED) - 1), max_size=6))
def test_how_the_bytes_are_cut_changes_nothing(node, cuts):
    whole = REQUEST + CHUNKED
    edges = [0, *sorted(cuts), len(whole)]
    with socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in itertools.pairwise(edges):
            client.sendall(whole[start:end])
        client.shutdown(socket.SHUT_WR)
        got = replies(read_to_end(client))
    assert [status for status, _, _ in got] == [200, 200]
    assert all(json.loads(body)["outputs"][0]["data"] == [110.0] for _, _, body in got)


def binary_request(length, first, second):
    head = json.dumps({"inputs": [
        {"name": name, "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
        for name, size in (("a", first), ("b", second))
    ]}).encode()  # fmt: skip
    body = head + b"\0\0\x80\x3f" * 4
    said = len(head) if length is None else length
    return (
        b"POST /v2/models/pair/infer HTTP/1.1\r\nhost: x\r\ninference-header-content-length: %d\r\n"
        b"content-length: %d\r\n\r\n%b" % (said, len(body), body)
    )


SIZES = st.sampled_from([8, 0, 1, 4, 7, 9, 16, 2**31, 2**62, -1, -8, 10**30])


@SETTINGS
@given(length=st.none() | st.integers(0, 400), first=SIZES, second=SIZES)
def test_binary_sizes_that_lie(node, length, first, second):
    with socket.create_connection(("127.0.0.1", node.port), LIMIT_S) as client:
        client.sendall(binary_request(length, first, second))
        client.shutdown(socket.SHUT_WR)
        ((status, _, body),) = replies(read_to_end(client))
    if (length, first, second) == (None, 8, 8):
        assert status == 200
        assert json.loads(body)["outputs"][0]["data"] == [0.0, 0.0]
    elif length is None:
        assert status == 400
    assert status in (200, 400)


def test_it_still_answers(node):
    for _ in range(3):
        assert node.post("/v2/models/sum/infer", summing_body())[2]["outputs"][0]["data"] == [110.0]
