"""A node whose model is busy, called over gRPC: shared batches, deadlines, calls given up, and the node's end."""

import contextlib
import re
import signal
import threading

import grpc
import numpy as np
import pytest
from tests.serving.bundles import ROWS, python_bundle
from tests.serving.grpc_clients import INFER, address, messages, request
from tests.serving.grpc_wire import Client, prefixed
from tests.serving.nodes import LIMIT_S, document, endpoint, summing_body, until

from penstock.serving.http2.frames import literal

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
# Every row's answer is the number of rows in its batch; a row that begins with 9 waits for a file.
COUNTING = """
import pathlib, time
import numpy as np

class Model:
    def predict(self, x):
        while (x[:, 0] == 9).any() and not pathlib.Path("{gate}").exists():
            time.sleep(0.005)
        return np.full(len(x), len(x), np.float64)
"""


class Gated:
    """A node whose model waits until `open`."""

    def __init__(self, node, gate):
        self.node = node
        self.gate = gate
        self.channel = grpc.insecure_channel(address(node))

    def send(self, first=1, **options):
        """A call that is under way; `result()` has the answer."""
        body = request(values=((first, 0, 0, 0),)).SerializeToString()
        return self.channel.unary_unary(INFER).future(body, timeout=options.pop("timeout", LIMIT_S), **options)

    def until_rows(self, metric, rows):
        def found():
            text = self.node.get("/metrics")[2].decode()
            return sum(map(float, re.findall(rf"^{metric}{{.*}} ([\d.]+)$", text, re.MULTILINE))) == rows

        until(found, what=f"{metric} of {rows}")

    def open(self):
        self.gate.touch()


@pytest.fixture
def gated(make_grpc_node, tmp_path):
    gate = tmp_path / "gate"
    outputs = {"predictions": np.full(ROWS, float(ROWS))}
    bundle = python_bundle(tmp_path / "counting", COUNTING.format(gate=gate), outputs=outputs, deterministic=False)
    node = make_grpc_node()
    node.publish(document(1, sum=endpoint(bundle)))
    found = Gated(node.start(), gate)
    yield found
    found.open()
    found.channel.close()


def predictions(future):
    answer = messages.ModelInferResponse.FromString(future.result())
    return list(answer.outputs[0].contents.fp64_contents)


def test_calls_over_grpc_and_http_share_a_batch(gated):
    first = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    grpc_call = gated.send()
    http = {}
    thread = threading.Thread(target=lambda: http.update(got=gated.node.post("/v2/models/sum/infer", summing_body())))
    thread.start()
    gated.until_rows("penstock_waiting_rows", 2)
    gated.open()
    assert predictions(first) == [1.0]
    thread.join()
    assert predictions(grpc_call) == http["got"][2]["outputs"][0]["data"] == [2.0]


def test_a_cancelled_call_harms_nobody_in_its_batch(gated):
    first = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    cancelled, kept = gated.send(), gated.send()
    gated.until_rows("penstock_waiting_rows", 2)
    cancelled.cancel()
    with contextlib.suppress(grpc.FutureCancelledError):
        cancelled.result()
    first.cancel()
    gated.open()
    assert predictions(kept)
    assert gated.node.get("/v2/health/ready")[0] == 200


def test_calls_given_up_count_until_they_have_ended(gated):
    with Client(gated.node) as client:
        for _ in range(256):
            number = client.begin()
            client.send(number, prefixed(request(values=((9, 0, 0, 0),))), end=True)
            client.h2.reset_stream(number)
            client.open.discard(number)
        refused = client.begin()
        assert client.result(refused)[3] == 7
        gated.open()
        until(lambda: client.call(request())[0] == 200, what="an answer, once they have ended")


def test_a_stream_is_one_rpc_however_many_calls_it_has(gated):
    slow = prefixed(request(values=((9, 0, 0, 0),)))
    with Client(gated.node) as client:
        numbers = [client.begin(STREAM) for _ in range(4)]
        for number in numbers:
            client.send(number, slow * 64, end=True)
        assert client.call(b"", "/grpc.health.v1.Health/Check")[2]["grpc-status"] == "0"
        gated.open()
        for number in numbers:
            assert client.result(number)[2]["grpc-status"] == "0"


def test_the_deadline_is_the_call_s(gated):
    with pytest.raises(grpc.RpcError) as late:
        gated.send(9, timeout=0.3).result()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    # The node knew it, too: it has answered the call by itself.
    line = gated.node.until_event("request", status=504)
    assert line["duration_us"] < 10_000_000
    # A header's may be shorter than the RPC's; then the node tells.
    with pytest.raises(grpc.RpcError) as late:
        gated.send(9, metadata=(("penstock-timeout-ms", "200"),)).result()
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert dict(late.value.trailing_metadata())["penstock-code"] == "deadline-exceeded"


def test_a_node_that_stops_answers_what_it_owes(gated):
    owed = gated.send(9)
    gated.until_rows("penstock_running_rows", 1)
    answers = gated.channel.stream_stream(STREAM)(endless(), timeout=LIMIT_S)
    assert next(answers)
    gated.node.process.send_signal(signal.SIGTERM)
    gated.node.until_event("draining")
    # The stream ends with a word of it, though its client would go on.
    with pytest.raises(grpc.RpcError) as ended:
        list(answers)
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
    gated.open()
    assert predictions(owed) == [1.0]
    assert gated.node.process.wait(LIMIT_S) == 0


def test_the_deadline_of_a_stream_is_that_of_all_its_calls(gated):
    with Client(gated.node) as client:
        number = client.begin(STREAM, grpc_timeout="300m")
        client.send(number, prefixed(request(values=((9, 0, 0, 0),))))
        first = client.messages(number, 1)[0]
        gated.open()
        gated.until_rows("penstock_running_rows", 0)
        client.send(number, prefixed(request()))
        second = client.messages(number, 2)[1]
    for body in (first, second):
        assert "deadline" in messages.ModelStreamInferResponse.FromString(body).error_message


@pytest.mark.parametrize("path", [INFER, STREAM])
def test_what_is_complete_when_the_node_stops_is_answered_and_the_connection_ends(gated, path):
    with Client(gated.node) as client:
        client.send(client.begin(path), prefixed(request(values=((9, 0, 0, 0),))), end=True)
        gated.until_rows("penstock_running_rows", 1)
        gated.node.process.send_signal(signal.SIGTERM)
        gated.node.until_event("draining")
        gated.open()
        answer = b"".join(iter(lambda: client.socket.recv(4096), b""))
        assert literal(b"grpc-status", b"0") in answer
        # The client's own end is still open: the node does not wait for it for long.
        assert gated.node.process.wait(LIMIT_S) == 0


def endless():
    """One call to nothing, and then silence until the stream is over."""
    yield request("none").SerializeToString()
    threading.Event().wait(LIMIT_S)
