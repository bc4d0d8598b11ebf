"""The gRPC port by h2, frame by frame: what clients send who are slow, wrong, or not what they seem."""

import contextlib
import gzip
import socket
import struct
import time

import psutil
import pytest
from hypothesis import given, settings, strategies
from tests.serving.grpc_clients import messages, request
from tests.serving.grpc_wire import Client, prefixed
from tests.serving.nodes import LIMIT_S, until

from penstock.core.errors import PenstockError
from penstock.serving.grpc.length_prefixed import Reader

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
HEALTH = "/grpc.health.v1.Health/Check"


def one():
    return request(model_version="1")


@pytest.fixture
def client(node):
    with Client(node) as found:
        yield found


def outcome(call):
    status, body, trailers, _ = call
    assert status == 200
    assert trailers["content-type"] == "application/grpc"
    if trailers["grpc-status"] != "0":
        assert body == b""
        return int(trailers["grpc-status"]), trailers["penstock-code"]
    flag, size = struct.unpack(">BI", body[:5])
    assert (flag, size) == (0, len(body) - 5)
    answer = messages.ModelInferResponse.FromString(body[5:])
    return answer.outputs[0].contents.fp32_contents[0]


def test_a_call(client):
    assert outcome(client.call(one())) == 110.0
    assert outcome(client.call(prefixed(gzip.compress(one().SerializeToString()), 1), grpc_encoding="gzip")) == 110.0
    assert outcome(client.call(one(), content_type="application/grpc+proto", grpc_timeout="9999999S")) == 110.0


# fmt: off
REFUSED = {
    "no message": (b"", {}, (3, "truncated-request")),
    "half a prefix": (b"\0\0", {}, (3, "truncated-request")),
    "half a message": (prefixed(one())[:-1], {}, (3, "truncated-request")),
    "two messages": (prefixed(one()) * 2, {}, (3, "too-many-messages")),
    "more than a message": (prefixed(one()) + b"\0", {}, (3, "too-many-messages")),
    "compressed by nothing": (prefixed(one(), 1), {}, (3, "invalid-encoding")),
    "a flag that is none": (prefixed(one(), 2), {"grpc_encoding": "gzip"}, (3, "invalid-encoding")),
    "compressed by what is not known": (prefixed(one(), 1), {"grpc_encoding": "snappy"},
                                        (12, "unsupported-encoding")),
    "not what it was compressed by": (prefixed(one(), 1), {"grpc_encoding": "gzip"}, (3, "invalid-encoding")),
    "a bomb": (prefixed(gzip.compress(bytes(10**8)), 1), {"grpc_encoding": "gzip"}, (8, "body-too-large")),
    "a timeout that is none": (prefixed(one()), {"grpc_timeout": "soon"}, (3, "invalid-timeout")),
    "no time": (prefixed(one()), {"grpc_timeout": "0n"}, (4, "deadline-exceeded")),
    "an unknown method": (prefixed(one()), {"path": "/a.B/C"}, (12, "unknown-method")),
}
# fmt: on


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_told(client, case):
    body, fields, expected = REFUSED[case]
    assert outcome(client.call(body, **fields)) == expected
    assert outcome(client.call(one())) == 110.0, "the connection goes on"


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (405, {"method": "GET"}),
        (415, {"content_type": "application/json"}),
        (415, {"content_type": "application/grpcs"}),
    ],
)
def test_what_is_no_rpc(client, status, fields):
    assert client.call(one(), **fields)[0] == status
    assert outcome(client.call(one())) == 110.0


def test_what_is_sent_back_is_ascii(client):
    trailers = client.call(one(), traceparent="ä")[2]
    assert trailers["traceparent"] == r"\xc3\xa4"


def test_what_is_no_http2(node):
    with socket.create_connection(("127.0.0.1", node.settings.grpc_port), LIMIT_S) as plain:
        plain.sendall(b"GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n")
        got = b"".join(iter(lambda: plain.recv(4096), b""))
    assert got.startswith(b"HTTP/1.1 400 ")
    assert got.endswith(b"this port speaks gRPC, which is HTTP/2\n")


def test_a_message_larger_than_any_is_refused_before_it_comes(client):
    number = client.begin()
    client.send(number, struct.pack(">BI", 0, 2**31))
    status, _, trailers, reset = client.result(number)
    assert (status, trailers["penstock-code"], reset) == (200, "body-too-large", 0)


def test_what_everybody_may_ask_is_not_read(client):
    assert outcome_bytes(client.call(b"\0\xff\xff\xff\xff", HEALTH)) == b"\x08\x01"
    assert outcome_bytes(client.call(b"", HEALTH)) == b"\x08\x01"


def outcome_bytes(call):
    assert call[2]["grpc-status"] == "0"
    return call[1][5:]


def test_a_head_that_is_too_large(client):
    assert outcome(client.call(one(), filler="f" * 20_000, more="m" * 20_000)) == (8, "head-too-large")
    assert outcome(client.call(one())) == 110.0
    client.begin(filler="f" * 200_000)
    assert client.until_closed()[0] == 11


def test_a_broken_protocol_is_told(client):
    client.flush()
    client.socket.sendall(b"\0\0\1\6\0\0\0\0\0?")
    assert client.until_closed() == (6, b"a frame of kind 6 has a wrong size")


def test_an_answer_goes_as_the_client_takes_it(node):
    message = messages.ModelInferRequest(model_name="same-FP64", raw_input_contents=[bytes(800_000)])
    message.inputs.add(name="x", datatype="FP64", shape=[50_000, 2])
    with Client(node, INITIAL_WINDOW_SIZE=1_000) as client:
        status, body, trailers, _ = client.call(message)
    assert (status, trailers["grpc-status"]) == (200, "0")
    assert messages.ModelInferResponse.FromString(body[5:]).raw_output_contents == [bytes(800_000)]


def test_calls_given_up_are_nothing_to_the_others(client):
    for _ in range(100):
        number = client.begin()
        client.send(number, prefixed(one()), end=True)
        client.h2.reset_stream(number)
        client.open.discard(number)
    assert outcome(client.call(one())) == 110.0


def test_a_stream_in_small_pieces(client):
    number = client.begin(STREAM, penstock_stream="bare", grpc_timeout="30S")
    body = b"".join(prefixed(request(values=((n, 0, 0, 0),), id=str(n))) for n in range(100))
    for at in range(0, len(body), 7):
        client.send(number, body[at : at + 7])
    client.send(number, b"", end=True)
    assert client.result(number)[2]["grpc-status"] == "0"
    found = [messages.ModelInferResponse.FromString(body).id for body in client.messages(number, 100)]
    assert found == [str(n) for n in range(100)]


def test_a_stream_that_ends_in_a_message(client):
    number = client.begin(STREAM)
    client.send(number, prefixed(one()) + b"\0\0", end=True)
    _, body, trailers, _ = client.result(number)
    assert body, "what was whole is answered"
    assert (trailers["grpc-status"], trailers["penstock-code"]) == ("3", "truncated-request")


def test_a_stream_whose_answers_nobody_takes_is_not_read_on(node):
    large = messages.ModelInferRequest(model_name="same-FP64", raw_input_contents=[bytes(16_000)])
    large.inputs.add(name="x", datatype="FP64", shape=[1_000, 2])
    with Client(node, INITIAL_WINDOW_SIZE=10) as client:
        number = client.begin(STREAM, penstock_stream="bare")
        sent = 0
        while (room := client.h2.local_flow_control_window(number)) > len(prefixed(large)):
            client.send(number, prefixed(large))
            sent += 1
            client.socket.settimeout(0.2)
            try:
                client.read()
            except TimeoutError:
                continue
            assert room
        assert 0 < sent < 10, "the window was not renewed"
        client.socket.settimeout(LIMIT_S)
        client.h2.increment_flow_control_window(10**8, number)
        client.flush()
        while len(client.calls[number][1]) < 16_000 * sent:
            client.read()
        client.send(number, b"", end=True)
        _, body, trailers, _ = client.result(number)
    assert trailers["grpc-status"] == "0"
    assert len(body) > 16_000 * sent


def twice(number):
    """A message whose answer fills the window of a connection, and one that is small."""
    large = messages.ModelInferRequest(model_name="same-FP64", raw_input_contents=[bytes(160_000)], id="large")
    large.inputs.add(name="x", datatype="FP64", shape=[10_000, 2])
    return prefixed(large) + prefixed(number)


def test_a_stream_goes_on_when_an_answer_was_held_up(client):
    number = client.begin(STREAM, penstock_stream="bare")
    client.send(number, twice(request(id="small")), end=True)
    assert client.result(number)[2]["grpc-status"] == "0"
    found = [messages.ModelInferResponse.FromString(body).id for body in client.messages(number, 2)]
    assert found == ["large", "small"]


def test_a_stream_that_failed_behind_an_answer_that_was_held_up(client):
    number = client.begin(STREAM, penstock_stream="bare")
    client.send(number, twice(request("none")), end=True)
    assert client.result(number)[2]["penstock-code"] == "unknown-endpoint"
    assert len(client.messages(number, 1)) == 1


def test_thousands_of_messages_in_one_window(client):
    number = client.begin(STREAM)
    client.send(number, prefixed(b"") * 13_000, end=True)
    assert client.result(number)[2]["grpc-status"] == "0"
    assert len(client.messages(number, 13_000)) == 13_000


def test_messages_of_streams_wait_for_room_like_others(client):
    # The node of these tests takes bodies of a megabyte.
    numbers = [client.begin(STREAM) for _ in range(3)]
    windows = []
    for number in numbers:
        client.send(number, struct.pack(">BI", 0, 900_000) + bytes(1_000))
        client.call(b"", HEALTH)
        windows.append(client.h2.local_flow_control_window(number))
    assert windows == [900_005 - 1_005, 65_535 - 1_005, 65_535 - 1_005]
    client.send(numbers[1], bytes(60_000))
    client.call(b"", HEALTH)
    assert client.h2.local_flow_control_window(numbers[1]) == 65_535 - 61_005


def test_a_client_without_a_table_of_fields(node):
    with Client(node, HEADER_TABLE_SIZE=0) as client:
        assert [outcome(client.call(one())) for _ in range(3)] == [110.0] * 3


def test_a_stream_that_stops_in_a_message(impatient):
    with Client(impatient) as client:
        number = client.begin(STREAM)
        client.send(number, struct.pack(">BI", 0, 900_000))
        assert outcome(client.result(number)) == (14, "request-timeout")


def test_who_is_slow(impatient):
    with Client(impatient) as client:
        number = client.begin()
        client.send(number, prefixed(one())[:9])
        assert outcome(client.result(number)) == (14, "request-timeout")
        assert outcome(client.call(one())) == 110.0
        begun = time.monotonic()
        assert client.until_closed() == (0, b"idle")
        assert time.monotonic() - begun > 2


def test_who_does_not_take_an_answer(impatient):
    with Client(impatient, INITIAL_WINDOW_SIZE=3) as client:
        client.h2.acknowledge_received_data = lambda *sizes: None
        assert client.call(one())[3] == 8


def test_who_reads_nothing(impatient):
    # Each fits the window of a stream, so that the client can send it without having read anything.
    message = messages.ModelInferRequest(model_name="same", raw_input_contents=[bytes(60_000)])
    message.inputs.add(name="x", datatype="FP64", shape=[3_750, 2])
    with Client(impatient, INITIAL_WINDOW_SIZE=2**31 - 1) as client:
        client.h2.increment_flow_control_window(2**31 - 1 - 65_535)
        assert client.call(message)[0] == 200
        with contextlib.suppress(OSError):
            for _ in range(250):
                client.send(client.begin(), prefixed(message), end=True)

        def is_held():
            # Asked of the node: its end of the connection cannot be told to a client that takes no bytes.
            held = psutil.Process(impatient.process.pid).net_connections("tcp")
            return any(one.raddr and one.raddr.port == client.socket.getsockname()[1] for one in held)

        until(lambda: not is_held(), what="the end of the connection")


def test_who_says_nothing(impatient):
    with socket.create_connection(("127.0.0.1", impatient.settings.grpc_port), LIMIT_S) as silent:
        assert b"".join(iter(lambda: silent.recv(4096), b""))[-4:] == b"idle"


def read_all(reader, data, cuts):
    found, at = [], 0
    for end in [*sorted(cuts), len(data)]:
        reader.push(data[at:end])
        at = max(at, end)
        while (message := reader.next()) is not None:
            found.append(reader.plain(message))
    return found


@settings(max_examples=200, deadline=None)
@given(strategies.lists(strategies.binary(max_size=50), max_size=6), strategies.lists(strategies.integers(0, 300)))
def test_messages_come_out_whole_however_they_are_cut(sent, cuts):
    data = b"".join(map(prefixed, sent))
    reader = Reader(b"", lambda: 50)
    assert read_all(reader, data, {min(cut, len(data)) for cut in cuts}) == sent
    assert not reader.pending
    assert reader.missing == 0


@settings(max_examples=200, deadline=None)
@given(strategies.binary(max_size=60), strategies.sampled_from([b"", b"gzip", b"deflate", b"x"]))
def test_no_bytes_fail_in_another_way(data, encoding):
    reader = Reader(encoding, lambda: 1000)
    try:
        read_all(reader, data, ())
    except PenstockError:
        return
    assert reader.missing >= 0
