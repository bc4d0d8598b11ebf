"""What is sent again and what is not, against a server that misbehaves; time and chance are the test's own."""

import asyncio
import json
import socket
import time as real_time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sdk.misbehaving import GOOD, answer, problem

import penstock
from penstock.protocols.problems import STATUS, body_of, headers_of, status_of
from penstock.sdk.messages import Incoming, Lost
from penstock.sdk.problems import error_of
from penstock.sdk.retry import LONGEST_PAUSE_S, pause_before_retry_s

ROWS = [{"a": 1}]
BUSY = problem(429, "overloaded", "retry-after: 3")
STARTING = problem(503, "no-worker")


@pytest.mark.parametrize(
    ("script", "pauses"),
    [
        ([GOOD], []),
        ([BUSY, GOOD], [3.025]),
        ([STARTING, GOOD], [0.025]),
        ([STARTING, STARTING, GOOD], [0.025, 0.05]),
        (["reset", GOOD], [0.025]),
        (["close", GOOD], [0.025]),
        (["close", BUSY, GOOD], [0.025, 3.05]),
    ],
)
def test_what_is_safe_is_sent_again(ask, server, time, script, pauses):
    sent = len(script)
    found = ask(server.plays(*script), "predict", "m", ROWS)
    assert found.predictions == ["yes"]
    assert time.pauses == pytest.approx(pauses)
    assert len(server.requests) == sent
    assert len({body for _, _, body in server.requests}) == 1


@pytest.mark.parametrize(
    ("first", "kind", "code"),
    [
        (problem(400, "wrong-shape"), penstock.InvalidInput, "wrong-shape"),
        (problem(403, "pickle-refused"), penstock.Refused, "pickle-refused"),
        (problem(404, "unknown-endpoint"), penstock.NotFound, "unknown-endpoint"),
        (problem(405, "wrong-method"), penstock.WrongMethod, "wrong-method"),
        (problem(413, "body-too-large"), penstock.TooLarge, "body-too-large"),
        (problem(431, "head-too-large"), penstock.TooLarge, "head-too-large"),
        (problem(500, "model-failed"), penstock.ModelFailed, "model-failed"),
        (problem(500, "internal-error"), penstock.PenstockError, "internal-error"),
        (problem(503, "worker-died"), penstock.Unavailable, "worker-died"),
        (problem(504, "deadline-exceeded"), penstock.DeadlineExceeded, "deadline-exceeded"),
        (answer(200, b"<html>hello"), penstock.Unavailable, "unexpected-answer"),
        (answer(200, b"\xff\xfe"), penstock.Unavailable, "unexpected-answer"),
        (answer(200, {"else": 1}), penstock.Unavailable, "unexpected-answer"),
        (answer(404, b"nginx"), penstock.NotFound, "unexpected-answer"),
        (answer(502, b"bad gateway"), penstock.Unavailable, "unexpected-answer"),
        (answer(301, b"", "location: http://127.0.0.1:1/"), penstock.Unavailable, "unexpected-answer"),
        ("cut", penstock.Unavailable, "connection-lost"),
    ],
)
def test_what_would_only_fail_again_is_not(ask, server, time, first, kind, code):
    with pytest.raises(kind) as raised:
        ask(server.plays(first, GOOD), "predict", "m", ROWS)
    assert (type(raised.value), raised.value.code) == (kind, code)
    assert not time.pauses
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("every", "kind", "code"),
    [
        (BUSY, penstock.Overloaded, "overloaded"),
        (STARTING, penstock.Unavailable, "no-worker"),
        (answer(429, b"<html>slow down"), penstock.Overloaded, "unexpected-answer"),
        ("reset", penstock.Unavailable, "connection-lost"),
    ],
)
def test_retries_end(ask, server, time, every, kind, code):
    with pytest.raises(kind) as raised:
        ask(server.plays(*[every] * 4), "predict", "m", ROWS, client={"retries": 3})
    assert raised.value.code == code
    assert len(server.requests) == 4


def test_no_retries_when_they_are_off(ask, server, time):
    with pytest.raises(penstock.Overloaded) as raised:
        ask(server.plays(BUSY, GOOD), "predict", "m", ROWS, client={"retries": 0})
    assert raised.value.retry_after_s == 3
    assert not time.pauses


def test_a_pause_beyond_the_deadline_is_not_begun(ask, server, time):
    with pytest.raises(penstock.Overloaded):
        ask(server.plays(BUSY, GOOD), "predict", "m", ROWS, timeout_s=3)
    assert not time.pauses
    assert len(server.requests) == 1


def test_every_attempt_tells_the_node_the_time_that_is_left(ask, server):
    ask(server.plays(BUSY, STARTING, GOOD), "predict", "m", ROWS, timeout_s=5, client={"draw": lambda: 0.0})
    assert [headers["penstock-timeout-ms"] for _, headers, _ in server.requests] == ["5000", "2000", "2000"]


@pytest.mark.parametrize("thing", ["silent", "drip"])
def test_a_server_that_does_not_come_to_an_end(ask, server, thing):
    with pytest.raises(penstock.DeadlineExceeded) as raised:
        ask(server.plays(thing), "predict", "m", ROWS, timeout_s=0.3, client={"clock": real_time.monotonic})
    assert raised.value.code == "no-answer-in-time"
    assert server.url in raised.value.message
    assert len(server.requests) == 1


def test_nothing_is_sent_after_the_deadline(ask, server, time):
    class Leaping:
        def __call__(self):
            time.now += 6
            return time.now

    with pytest.raises(penstock.DeadlineExceeded):
        ask(server.plays(GOOD), "predict", "m", ROWS, timeout_s=5, client={"clock": Leaping()})
    assert not server.requests


def test_a_connection_that_was_closed_while_it_was_idle(server, time):
    server.plays(GOOD, "close", GOOD)
    with penstock.Client(server.url, clock=time, sleep=time.sleep) as client:
        assert client.predict("m", ROWS).predictions == ["yes"]
        assert client.predict("m", ROWS).predictions == ["yes"]
    assert len(server.requests) == 3


def test_nobody_is_asked_again_for_health(ask, server, time):
    assert not ask(server.plays(problem(503, "x")), "ready")
    assert not ask(server.plays("reset"), "live")
    assert not time.pauses


def test_an_answer_is_worth_more_than_the_names_of_its_classes(ask, server):
    body = {
        "model_version": "1",
        "outputs": [
            {"name": "predictions", "datatype": "INT64", "shape": [1], "data": [3]},
            {"name": "probabilities", "datatype": "FP64", "shape": [1, 2], "data": [0.5, 0.5]},
        ],
    }
    found = ask(server.plays(answer(200, body), problem(404, "unknown-version")), "predict", "m", {"a": [1.0]})
    assert (found.predictions.tolist(), found.probabilities.tolist(), found.classes) == ([3], [[0.5, 0.5]], None)
    assert [request[0] for request in server.requests] == [
        ["POST", "/v2/models/m/infer"],
        ["GET", "/v2/models/m/versions/1"],
    ]


def test_classes_are_asked_for_once(server):
    body = {
        "model_version": "1",
        "outputs": [{"name": "probabilities", "datatype": "FP64", "shape": [1, 1], "data": [1]}],
    }
    server.plays(answer(200, body), answer(200, {"classes": ["a"]}), answer(200, body))
    with penstock.Client(server.url) as client:
        assert [client.predict("m", {"a": [1.0]}).classes for _ in range(2)] == [("a",), ("a",)]


def test_a_failed_call_leaves_its_connection_to_others(ask, server):
    # More than the connections a client may have.
    script = [*["reset"] * 105, GOOD]
    found = ask(server.plays(*script), "predict", "m", ROWS, timeout_s=20, client={"retries": 105, "draw": lambda: 0.0})
    assert found.predictions == ["yes"]


def test_what_ties_a_call_to_a_trace_is_passed_on(ask, server):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    ask(server.plays(GOOD), "predict", "m", ROWS, id="a-1", traceparent=trace)
    ((_, headers, body),) = server.requests
    assert (headers["x-request-id"], headers["traceparent"]) == ("a-1", trace)
    assert b'"id":"a-1"' in body


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"id": "a\r\nhost: b"}, "invalid-id"),
        ({"id": ""}, "invalid-id"),
        ({"id": "å"}, "invalid-id"),
        ({"traceparent": "yes\n"}, "invalid-traceparent"),
        ({"timeout_s": 0}, "invalid-timeout"),
        ({"timeout_s": float("nan")}, "invalid-timeout"),
        ({"timeout_s": float("inf")}, "invalid-timeout"),
        ({"client": {"timeout_s": -1}}, "invalid-timeout"),
        ({"client": {"retries": -1}}, "invalid-option"),
    ],
)
def test_options_that_cannot_be(ask, server, arguments, code):
    with pytest.raises(penstock.InvalidInput) as raised:
        ask(server.url, "predict", "m", ROWS, **arguments)
    assert raised.value.code == code
    assert not server.requests


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://a?b"]
)
def test_an_address_that_is_none(url):
    for client in (penstock.Client, penstock.AsyncClient):
        with pytest.raises(penstock.InvalidInput) as raised:
            client(url)
        assert raised.value.code == "invalid-url"


def test_a_client_handed_in_is_used_and_stays_open(server):
    with httpx.Client(headers={"authorization": "Bearer k"}) as http:
        with penstock.Client(server.plays(GOOD, GOOD), http=http) as client:
            client.predict("m", ROWS)
        assert not http.is_closed
    assert server.requests[0][1]["authorization"] == "Bearer k"

    async def main():
        async with httpx.AsyncClient() as http:
            async with penstock.AsyncClient(server.url, http=http) as client:
                await client.predict("m", ROWS)
            assert not http.is_closed

    asyncio.run(main())


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(ask, server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ask(server.plays(GOOD), "predict", "m", ROWS).predictions == ["yes"]


def test_a_cancelled_call_leaves_the_client_usable(server):
    async def main():
        async with penstock.AsyncClient(server.plays("silent", GOOD)) as client:
            call = asyncio.ensure_future(client.predict("m", ROWS))
            assert await asyncio.to_thread(server.asked.wait, 10)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            return await client.predict("m", ROWS)

    assert asyncio.run(main()).predictions == ["yes"]


def test_a_port_where_nobody_listens_is_tried_again(ask, time):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(penstock.Unavailable):
        ask(f"http://127.0.0.1:{port}", "predict", "m", ROWS)
    assert time.pauses == pytest.approx([0.025, 0.05])


KINDS = [kind for kind in vars(penstock.core.errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_failure_comes_back_as_the_class_it_was(kind):
    code = {penstock.PenstockError: "internal-error", penstock.Forbidden: "role-forbidden"}.get(kind, "some-code")
    error = kind(code, "what; and where", hint="what to do")
    back = error_of(Incoming(status_of(error), headers_of(error), json.dumps(body_of(error)).encode()), "http://a")
    assert (type(back), back.code, str(back)) == (kind, code, str(error))
    with_hint = json.dumps({**body_of(error), "hint": error.hint}).encode()
    back = error_of(Incoming(status_of(error), {}, with_hint), "http://a")
    assert (back.message, back.hint) == (error.message, error.hint)
    assert set(STATUS) == {kind.kind for kind in KINDS}


@given(
    status=st.integers(200, 599),
    body=st.binary(max_size=60) | st.sampled_from([b"[]", b"null", b'{"code": 1}', b'{"error": "a", "code": "b"}']),
    after=st.text(max_size=10),
    attempt=st.integers(0, 10_000),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_any_answer_has_an_error_and_a_pause_that_is_sane(status, body, after, attempt, draw):
    heard = Incoming(status, {"retry-after": after}, body)
    assert isinstance(error_of(heard, "http://a"), penstock.PenstockError)
    pause = pause_before_retry_s(heard, attempt, draw)
    assert (pause is not None) == (status in (429, 503))
    assert pause is None or 0 <= pause <= LONGEST_PAUSE_S + 10**6


@given(attempt=st.integers(0, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded(attempt, draw):
    assert 0 <= pause_before_retry_s(Lost("connect", ""), attempt, draw) < LONGEST_PAUSE_S
