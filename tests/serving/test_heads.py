"""Requests whose head is known go past the parser: with the same answers, and never with anything else's bytes."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.protocols.problems import JSON
from penstock.serving.http.connection import Connection
from penstock.serving.http.door import Door, HttpLimits
from penstock.serving.http.heads import Head, Heads
from penstock.serving.http.message import Reply


def post(body, *, path=b"/a", extra=b""):
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, extra, len(body), body)


class Wire:
    """What a transport does, as far as a connection asks for it, kept in order."""

    def __init__(self):
        self.sent, self.closed = b"", False

    def is_closing(self):
        return self.closed

    def write(self, data):
        self.sent += data

    def get_extra_info(self, name):
        return ("192.0.2.1", 50_000) if name == "peername" else None

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.closed = True

    def close(self):
        self.closed = True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class Side:
    """A door and what came through it; `say` opens a connection and sends pieces."""

    def __init__(self, **limits):
        self.seen = []
        self.asked = []
        self.door = Door(
            self.answer, HttpLimits(**limits), lambda: 0.0, lambda url: 1000, self.check_head, lambda work: work()
        )
        self.door.smallest_body_limit = 1000

    def check_head(self, url, headers, peer):
        self.asked.append((url, headers[b"host"], peer))

    def answer(self, request):
        self.seen.append((request.method, request.url, dict(request.headers), request.body))
        return Reply(200, JSON, request.body)

    def say(self, *pieces):
        connection, wire = Connection(self.door), Wire()
        connection.connection_made(wire)
        for piece in pieces:
            connection.data_received(piece)
        return wire


@pytest.fixture
def side():
    async def make():
        return Side()

    return asyncio.run(make())


def test_a_head_that_was_seen_is_not_parsed_again_and_says_the_same(side):
    first = side.say(post(b"one"))
    assert side.door.heads.split(post(b"two")) is not None
    second = side.say(post(b"two"), post(b"six"))
    assert [seen[3] for seen in side.seen] == [b"one", b"two", b"six"]
    assert side.seen[0][:3] == side.seen[1][:3] == side.seen[2][:3]
    assert first.sent.replace(b"one", b"two") + first.sent.replace(b"one", b"six") == second.sent


@pytest.mark.parametrize(
    "extra",
    [b"Connection: close\r\n", b"Expect: 100-continue\r\n", b"x-request-id: 7\r\n", b"traceparent: 00-1\r\n"],
)
def test_heads_that_differ_or_act_are_not_kept(side, extra):
    side.say(post(b"one", extra=extra))
    assert side.door.heads.split(post(b"one", extra=extra)) is None


def test_bytes_after_half_a_request_line_are_the_parsers(side):
    side.say(post(b"one"))
    # The parser has read "POST /": were the rest taken for a request of its own, two servers would disagree here.
    wire = side.say(b"POST /", post(b"two"))
    assert len(side.seen) == 1
    assert wire.sent.startswith(b"HTTP/1.1 400")


def test_nothing_is_taken_after_a_request_that_was_refused(side):
    side.say(post(b"one"))
    wire = side.say(b"NONSENSE\r\n\r\n", post(b"two"))
    assert len(side.seen) == 1
    assert wire.sent.count(b"HTTP/1.1") == 1


def test_a_connection_that_is_to_close_takes_no_more(side):
    side.say(post(b"one"))
    wire = side.say(post(b"two", extra=b"Connection: close\r\n"), post(b"six"))
    assert [seen[3] for seen in side.seen] == [b"one", b"two"]
    assert wire.closed


def test_a_limit_that_was_lowered_holds_for_known_heads(side):
    side.say(post(b"x" * 900))
    side.door.smallest_body_limit = 0
    side.door.body_limit = lambda url: 100
    assert side.say(post(b"y" * 900)).sent.startswith(b"HTTP/1.1 413")
    assert len(side.seen) == 1


def test_a_draining_node_tells_known_clients_too(side):
    side.say(post(b"one"))
    connection, wire = Connection(side.door), Wire()
    connection.connection_made(wire)
    side.door.draining = True
    connection.data_received(post(b"two"))
    assert b"connection: close" in wire.sent
    assert wire.closed


def test_a_body_that_is_waited_for_is_asked_about_once_and_any_other_never(side):
    whole = post(b"x" * 300)
    side.say(whole, whole, whole + whole, get := b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n", get[:20], get[20:])
    assert side.asked == []
    side.say(whole + whole[:200], whole[200:250], whole[250:], whole[:20], whole[20:100], whole[100:])
    assert side.asked == 2 * [(b"/a", b"x", "192.0.2.1")]


def test_the_memory_is_bounded():
    heads = Heads()
    for number in range(2000):
        data = post(b"", path=b"/%d" % number)
        heads.keep(data, Head(b"POST", b"/%d" % number, {}, 0))
    assert sum(heads.split(post(b"", path=b"/%d" % number)) is not None for number in range(2000)) <= 512
    large = post(b"", path=b"/" + b"x" * 5000)
    heads.keep(large, Head(b"POST", b"/", {}, 0))
    assert heads.split(large) is None


requests = st.sampled_from(
    [
        post(b"one"),
        post(b"two", extra=b"A: b\r\n"),
        post(b""),
        b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" + post(b"three"),
        b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        post(post(b"inner")),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(requests, min_size=1, max_size=6), st.lists(st.integers(1, 120), max_size=12))
def test_however_the_bytes_are_cut_the_same_requests_come_through(sent, cuts):
    async def both():
        return Side(), Side()

    warm, cold = asyncio.run(both())
    for data in sent:
        warm.say(data)
    warm.seen.clear()
    stream = b"".join(sent)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(stream[at : at + cut])
        at += cut
    pieces = [piece for piece in [*pieces, stream[at:]] if piece]
    assert warm.say(*pieces).sent == cold.say(stream).sent
    assert warm.seen == cold.seen
    assert len(cold.seen) == len(sent)
    # And request by request, the way the known heads are taken.
    again = Side.say(warm, *sent)
    assert again.sent == cold.say(*sent).sent
