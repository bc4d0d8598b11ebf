"""Clients that are silent or slow, by a clock of the tests' own."""

from types import SimpleNamespace

import pytest
from tests.serving.http2.hosts import FIELDS, HELLO, split

from penstock.core.errors import InvalidInput
from penstock.protocols.grpc_status import grpc_reply_of
from penstock.serving.grpc.connection import GrpcConnection
from penstock.serving.http.door import HttpLimits
from penstock.serving.http.message import Reply
from penstock.serving.http2 import frames
from penstock.serving.http2.frames import frame, literal
from penstock.serving.http2.session import Http2Limits

STREAM = b"/a.B/Stream"


class Transport:
    def __init__(self):
        self.out, self.aborted, self.waiting, self.reading = b"", False, 0, True

    def write(self, data):
        self.out += data

    def abort(self):
        self.aborted = True

    def get_extra_info(self, name):
        return ("127.0.0.1", 5)

    def is_closing(self):
        return self.aborted

    def get_write_buffer_size(self):
        return self.waiting

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


@pytest.fixture
def door():
    now = SimpleNamespace(s=0.0)
    return SimpleNamespace(
        now=now, clock=lambda: now.s, limits=HttpLimits(idle_timeout_s=10, request_timeout_s=5), http2=Http2Limits(),
        connections=set(), draining=False, soon=lambda work: work(), methods={}, stream_path=STREAM,
        node=SimpleNamespace(access=None), largest=lambda: 1000, transport=Transport(),
    )  # fmt: skip


@pytest.fixture
def connection(door):
    found = GrpcConnection(door)
    found.connection_made(door.transport)
    fields = {**dict(FIELDS), b":path": STREAM, b"content-type": b"application/grpc"}
    head = b"".join(literal(name, value) for name, value in fields.items())
    found.data_received(HELLO + frame(frames.HEADERS, frames.END_HEADERS, 1, head))
    return found


def pings(door):
    out, door.transport.out = door.transport.out, b""
    return [kind for kind, flags, _, _ in split(out) if kind == frames.PING and not flags]


def test_a_silent_client_with_a_stream_is_asked_whether_it_is_there(door, connection):
    for s in (5, 10):
        door.now.s = s
        connection.check(s)
    assert not pings(door)
    door.now.s = 12
    connection.check(12)
    assert pings(door)
    connection.data_received(frame(frames.PING, frames.ACK, 0, bytes(8)))
    door.now.s = 22
    connection.check(22)
    assert not pings(door)
    assert not door.transport.aborted
    for s in (24, 27.5):
        door.now.s = s
        connection.check(s)
    assert door.transport.aborted, "it did not answer"


def test_who_reads_slowly_is_not_who_reads_nothing(door, connection):
    door.transport.waiting = 100
    connection.pause_writing()
    assert not door.transport.reading
    for s, waiting in ((4, 90), (8, 80), (12, 70)):
        door.now.s, door.transport.waiting = s, waiting
        connection.check(s)
    assert not door.transport.aborted
    connection.resume_writing()
    assert door.transport.reading
    connection.pause_writing()
    for s in (14, 20):
        door.now.s = s
        connection.check(s)
    assert door.transport.aborted


def test_thousands_of_messages_leave_others_their_turn(door, connection):
    later = []
    door.soon = later.append
    door.infer = lambda request: Reply(*grpc_reply_of(InvalidInput("invalid-message", "no message")))
    connection.data_received(frame(frames.DATA, 0, 1, bytes(5) * 50) * 4 + frame(frames.DATA, frames.END_STREAM, 1))
    answered = []
    while later:
        later.pop(0)()
        out, door.transport.out = door.transport.out, b""
        answered.append(sum(kind == frames.DATA for kind, *_ in split(out)))
    assert sum(answered) == 200
    assert max(answered) == door.limits.max_pipelined
