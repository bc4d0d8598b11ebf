"""HTTP/2's rules, frame by frame, and whole conversations with h2, an implementation that is not ours."""

import random

import pytest
from h2.events import DataReceived, StreamEnded, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given, settings, strategies
from tests.serving.http2.hosts import FIELDS, HEAD, HELLO, TRAILERS, EchoHost, greeted, h2_client

from penstock.serving.http2 import frames
from penstock.serving.http2.frames import Http2Error, frame, literal, rst_stream, window_update

ENDS = frames.END_HEADERS | frames.END_STREAM
REQUEST = frame(frames.HEADERS, ENDS, 1, HEAD)
OPEN = frame(frames.HEADERS, frames.END_HEADERS, 1, HEAD)


def setting(name, value):
    return frames.settings({name: value})


# fmt: off
BROKEN = {
    "no preface": (b"GET / HTTP/1.1\r\n\r\n", frames.PROTOCOL_ERROR),
    "another first frame": (frames.PREFACE + frame(frames.PING, 0, 0, bytes(8)), frames.PROTOCOL_ERROR),
    "a request before the settings": (frames.PREFACE + REQUEST, frames.PROTOCOL_ERROR),
    "too large a frame": (HELLO + frame(frames.DATA, 0, 1, bytes(frames.FRAME_BYTES + 1)), frames.FRAME_SIZE_ERROR),
    "an even stream": (HELLO + frame(frames.HEADERS, ENDS, 2, HEAD), frames.PROTOCOL_ERROR),
    "stream 0": (HELLO + frame(frames.HEADERS, ENDS, 0, HEAD), frames.PROTOCOL_ERROR),
    "a second head of an ended stream": (HELLO + REQUEST + REQUEST, frames.STREAM_CLOSED),
    "more padding than frame": (HELLO + frame(frames.HEADERS, ENDS | frames.PADDED, 1, b"\x09ab"),
                                frames.PROTOCOL_ERROR),
    "no room for the priority": (HELLO + frame(frames.HEADERS, ENDS | frames.PRIORITIZED, 1, b"ab"),
                                 frames.FRAME_SIZE_ERROR),
    "a block that is none": (HELLO + frame(frames.HEADERS, ENDS, 1, b"\xff" * 6), frames.COMPRESSION_ERROR),
    "an index beyond the table": (HELLO + frame(frames.HEADERS, ENDS, 1, b"\xfe"), frames.COMPRESSION_ERROR),
    "a block that is not continued": (HELLO + frame(frames.HEADERS, 0, 1, HEAD) + frame(frames.PING, 0, 0, bytes(8)),
                                      frames.PROTOCOL_ERROR),
    "a block continued by another stream": (
        HELLO + frame(frames.HEADERS, 0, 1, HEAD) + frame(frames.CONTINUATION, 4, 3), frames.PROTOCOL_ERROR),
    "a continuation of nothing": (HELLO + frame(frames.CONTINUATION, 4, 1, HEAD), frames.PROTOCOL_ERROR),
    "a block without end": (HELLO + frame(frames.HEADERS, 0, 1) + frame(frames.CONTINUATION, 0, 1, bytes(16_000)) * 3,
                            frames.ENHANCE_YOUR_CALM),
    "continuations of nothing": (HELLO + frame(frames.HEADERS, 0, 1) + frame(frames.CONTINUATION, 0, 1) * 51,
                                 frames.ENHANCE_YOUR_CALM),
    "a pushed promise": (HELLO + frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), frames.PROTOCOL_ERROR),
    "data of no stream": (HELLO + frame(frames.DATA, 0, 0, b"a"), frames.PROTOCOL_ERROR),
    "data of a stream that is not open": (HELLO + frame(frames.DATA, 0, 1, b"a"), frames.PROTOCOL_ERROR),
    "a reset of a stream that is not open": (HELLO + rst_stream(1, 0), frames.PROTOCOL_ERROR),
    "a reset of the connection": (HELLO + rst_stream(0, 0), frames.PROTOCOL_ERROR),
    "a short reset": (HELLO + OPEN + frame(frames.RST_STREAM, 0, 1, b"a"), frames.FRAME_SIZE_ERROR),
    "a short ping": (HELLO + frame(frames.PING, 0, 0, b"a"), frames.FRAME_SIZE_ERROR),
    "a ping of a stream": (HELLO + frame(frames.PING, 0, 1, bytes(8)), frames.PROTOCOL_ERROR),
    "settings of a stream": (HELLO + frame(frames.SETTINGS, 0, 1), frames.PROTOCOL_ERROR),
    "half a setting": (HELLO + frame(frames.SETTINGS, 0, 0, b"abc"), frames.FRAME_SIZE_ERROR),
    "an acknowledgement that says something": (HELLO + frame(frames.SETTINGS, 1, 0, bytes(6)), frames.FRAME_SIZE_ERROR),
    "a window beyond the largest": (HELLO + setting(frames.INITIAL_WINDOW_SIZE, 2**31), frames.FLOW_CONTROL_ERROR),
    "a frame size that may not be": (HELLO + setting(frames.MAX_FRAME_SIZE, 100), frames.PROTOCOL_ERROR),
    "a push that is 2": (HELLO + setting(frames.ENABLE_PUSH, 2), frames.PROTOCOL_ERROR),
    "a window that grows by nothing": (HELLO + window_update(0, 0), frames.PROTOCOL_ERROR),
    "a window that grows too large": (HELLO + window_update(0, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
    "a window of a stream that is not open": (HELLO + window_update(1, 1), frames.PROTOCOL_ERROR),
    "a short window": (HELLO + frame(frames.WINDOW_UPDATE, 0, 0, b"a"), frames.FRAME_SIZE_ERROR),
    "a window setting that is too much for a stream": (
        HELLO + OPEN + window_update(1, 2**31 - 1 - 65_535) + setting(frames.INITIAL_WINDOW_SIZE, 65_536),
        frames.FLOW_CONTROL_ERROR),
    "frames that ask for nothing": (HELLO + frame(frames.PING, 1, 0, bytes(8)) * 51, frames.ENHANCE_YOUR_CALM),
    "settings again and again": (
        HELLO + OPEN + frame(frames.HEADERS, ENDS, 3, HEAD) + setting(frames.INITIAL_WINDOW_SIZE, 9) * 17,
        frames.ENHANCE_YOUR_CALM),
    "empty data": (HELLO + OPEN + frame(frames.DATA, 0, 1) * 51, frames.ENHANCE_YOUR_CALM),
    "unknown frames": (HELLO + frame(77, 0, 0) * 51, frames.ENHANCE_YOUR_CALM),
    "late trailers": (HELLO + OPEN + rst_stream(1, 8) + REQUEST * 51, frames.ENHANCE_YOUR_CALM),
}
RESET = {
    "a head without a path": (frame(frames.HEADERS, ENDS, 1, literal(b":method", b"GET")), frames.PROTOCOL_ERROR),
    "an upper case name": (frame(frames.HEADERS, ENDS, 1, HEAD + literal(b"Name", b"x")), frames.PROTOCOL_ERROR),
    "a line end in a value": (frame(frames.HEADERS, ENDS, 1, HEAD + literal(b"a", b"x\r\nb: c")),
                              frames.PROTOCOL_ERROR),
    "a second head that is not the end": (OPEN + OPEN, frames.PROTOCOL_ERROR),
    "data after the end": (REQUEST + frame(frames.DATA, 0, 1, b"a"), frames.STREAM_CLOSED),
    "more data than the window": (OPEN + frame(frames.DATA, 0, 1, bytes(16_384)) * 4, frames.FLOW_CONTROL_ERROR),
    "a stream's window that grows by nothing": (OPEN + window_update(1, 0), frames.PROTOCOL_ERROR),
    "a stream's window that grows too large": (OPEN + window_update(1, 2**31 - 1), frames.FLOW_CONTROL_ERROR),
}
# fmt: on


@pytest.mark.parametrize("case", BROKEN)
def test_what_ends_a_connection(case):
    data, code = BROKEN[case]
    with pytest.raises(Http2Error) as error:
        EchoHost(answering=False, max_idle_frames=50).session.feed(data)
    assert error.value.code == code


@pytest.mark.parametrize("case", RESET)
def test_what_ends_a_stream(case):
    data, code = RESET[case]
    host = greeted(answering=False)
    host.session.feed(data)
    assert [f[2:] for f in host.frames() if f[0] == frames.RST_STREAM] == [(1, code.to_bytes(4))]
    assert not host.session.streams
    assert all(call.is_lost for call, _ in host.begun)
    host.answering = True
    host.session.feed(frame(frames.HEADERS, ENDS, 3, HEAD))
    assert [f[0] for f in host.frames()] == [frames.HEADERS, frames.DATA, frames.HEADERS], "others go on"


def test_what_is_said_first():
    host = EchoHost(max_streams=7, max_head_bytes=100)
    for byte in HELLO:
        host.session.feed(bytes([byte]))
    first, window, acknowledged = host.frames()
    assert first[:3] == (frames.SETTINGS, 0, 0)
    assert first[3] == b"\0\3\0\0\0\7\0\6\0\0\0\x64"
    assert window == (frames.WINDOW_UPDATE, 0, 0, (2**31 - 1 - 65_535).to_bytes(4))
    assert acknowledged == (frames.SETTINGS, frames.ACK, 0, b"")


def test_an_answer_and_its_head():
    host = greeted()
    padded = frame(
        frames.HEADERS, frames.END_HEADERS | frames.PADDED | frames.PRIORITIZED, 1, b"\2" + bytes(5) + HEAD + b"??"
    )
    host.session.feed(padded + frame(frames.DATA, frames.END_STREAM | frames.PADDED, 1, b"\1ab?"))
    assert host.begun[0][1] == dict(FIELDS)
    assert host.frames() == [
        (frames.HEADERS, frames.END_HEADERS, 1, b"\x20\x88"),
        (frames.DATA, 0, 1, b"ab"),
        (frames.HEADERS, ENDS, 1, TRAILERS),
    ]
    assert (host.empty, host.session.streams) == (1, {})


def test_a_block_in_pieces_and_trailers_of_a_request():
    host = greeted()
    pieces = [HEAD[at : at + 10] for at in range(0, len(HEAD), 10)]
    host.session.feed(frame(frames.HEADERS, 0, 1, pieces[0]))
    for piece in pieces[1:]:
        host.session.feed(frame(frames.CONTINUATION, 0, 1, piece))
    host.session.feed(frame(frames.CONTINUATION, frames.END_HEADERS, 1))
    host.session.feed(frame(frames.DATA, 0, 1, b"body") + frame(frames.HEADERS, ENDS, 1, literal(b"more", b"x")))
    assert host.ended[0].body == b"body"


def test_a_client_that_leaves_gets_what_it_is_owed():
    host = greeted(answering=False)
    host.session.feed(REQUEST + frames.goaway(0, frames.NO_ERROR))
    host.session.sending.respond(host.ended[0].stream, b"\x88", b"late", TRAILERS)
    assert host.frames()[1] == (frames.DATA, 0, 1, b"late")


def test_a_server_that_leaves_answers_what_it_took_and_nothing_else():
    host = greeted(answering=False)
    host.session.feed(REQUEST)
    host.session.leave()
    host.session.feed(frame(frames.HEADERS, ENDS, 3, HEAD))
    told, refused = host.frames()
    assert told[3][:8] == (1).to_bytes(4) + bytes(4)
    assert refused == (frames.RST_STREAM, 0, 3, frames.REFUSED_STREAM.to_bytes(4))
    host.session.sending.respond(host.ended[0].stream, b"\x88", b"", TRAILERS)
    assert host.empty == 1


def test_too_many_streams():
    host = greeted(answering=False, max_streams=2)
    for number in (1, 3, 5):
        host.session.feed(frame(frames.HEADERS, frames.END_HEADERS, number, HEAD))
    assert host.frames() == [(frames.RST_STREAM, 0, 5, frames.REFUSED_STREAM.to_bytes(4))]
    host.session.feed(rst_stream(1, frames.CANCEL) + frame(frames.HEADERS, frames.END_HEADERS, 7, HEAD))
    assert sorted(host.session.streams) == [3, 7]


def test_an_early_answer_tells_that_the_rest_is_not_needed():
    host = greeted(answering=False)
    host.session.feed(OPEN)
    stream = host.session.streams[1]
    host.session.sending.finish(stream, TRAILERS)
    assert [f[0] for f in host.frames()] == [frames.HEADERS, frames.RST_STREAM]
    host.session.feed(frame(frames.DATA, frames.END_STREAM, 1, b"late"))
    assert host.frames() == []
    assert stream.closed


def test_frames_that_ask_for_nothing_are_counted_from_rest_to_rest():
    host = greeted(max_idle_frames=50)
    for _ in range(3):
        host.session.feed(frame(frames.PING, frames.ACK, 0, bytes(8)) * 40)
        host.session.rest()


def test_uploads_wait_for_each_other():
    size = 200_000
    host = greeted(answering=False, lacking=lambda call: size - len(call.body), room_bytes=300_000)
    chunk = bytes(10_000)
    for number in (1, 3, 5):
        host.session.feed(
            frame(frames.HEADERS, frames.END_HEADERS, number, HEAD) + frame(frames.DATA, 0, number, chunk)
        )
    grants = [(f[2], int.from_bytes(f[3])) for f in host.frames()]
    # What one lacks beyond its window of 65 535 bytes; a second one fits, the third waits.
    assert grants == [(1, size - 65_535), (3, size - 65_535)]
    for _ in range(19):
        host.session.feed(frame(frames.DATA, 0, 1, chunk))
    assert host.frames() == []
    host.session.feed(frame(frames.DATA, frames.END_STREAM, 1))
    assert [(f[2], int.from_bytes(f[3])) for f in host.frames()] == [(5, size - 65_535)]
    # One that is given up leaves its room, too; one larger than all room gets it when it is alone.
    host.session.feed(rst_stream(3, 8) + rst_stream(5, 8))
    host.lacking = lambda call: 10 * size - len(call.body)
    host.session.feed(frame(frames.HEADERS, frames.END_HEADERS, 7, HEAD) + frame(frames.DATA, 0, 7, chunk))
    assert int.from_bytes(host.frames()[-1][3]) == 10 * size - 65_535


def test_answers_share_the_window_of_a_connection():
    host = greeted(answering=False)
    for number in (1, 3, 5):
        host.session.feed(frame(frames.HEADERS, ENDS, number, HEAD))
    for call in host.ended:
        host.session.sending.respond(call.stream, b"\x88", bytes(60_000), TRAILERS)
    sent = [f[2] for f in host.frames() if f[0] == frames.DATA]
    assert sent == [1, 1, 1, 1, 3], "65 535 bytes are all of the first and a bit of the second"
    host.session.feed(window_update(0, 1))
    assert [(f[2], len(f[3])) for f in host.frames()] == [(3, 1)]
    host.session.feed(window_update(0, 4 * 16_384))
    assert [(f[2], len(f[3])) for f in host.frames()] == [(5, 16_384), (3, 16_384)] * 2, "in turns"
    host.session.feed(window_update(0, 100_000))
    assert [f[2] for f in host.frames() if f[1] & frames.END_STREAM] == [5, 3]


def test_an_answer_that_its_own_window_holds_up_holds_up_no_other():
    host = greeted(answering=False)
    host.session.feed(setting(frames.INITIAL_WINDOW_SIZE, 10))
    for number in (1, 3):
        host.session.feed(frame(frames.HEADERS, ENDS, number, HEAD))
    for call in host.ended:
        host.session.sending.respond(call.stream, b"\x88", bytes(70_000), TRAILERS)
    host.take()
    host.session.feed(window_update(3, 70_000))
    host.session.feed(window_update(0, 70_000))
    assert [f[2] for f in host.frames() if f[1] & frames.END_STREAM] == [3]
    host.session.feed(window_update(1, 70_000) + window_update(0, 70_000))
    assert [f[2] for f in host.frames() if f[1] & frames.END_STREAM] == [1]


def test_the_first_block_says_that_no_table_is_used():
    host = EchoHost()
    host.session.feed(HELLO + setting(frames.HEADER_TABLE_SIZE, 0))
    host.take()
    for number in (1, 3):
        host.session.feed(frame(frames.HEADERS, ENDS, number, HEAD))
    assert [f[3] for f in host.frames() if f[:2] == (frames.HEADERS, frames.END_HEADERS)] == [b"\x20\x88", b"\x88"]


def test_windows_that_are_renewed_for_what_is_sent_are_no_flood():
    host = greeted(answering=False, max_idle_frames=5)
    host.session.feed(OPEN)
    stream = host.session.streams[1]
    host.session.sending.send(stream, bytes(30 * 16_384))
    for _ in range(30):
        host.session.feed(window_update(1, 16_384) + window_update(0, 16_384))
    with pytest.raises(Http2Error):
        host.session.feed(window_update(1, 1) * 66)


def test_a_blocked_answer_is_known_by_its_time():
    now = [5.0]
    host = greeted(clock=lambda: now[0])
    host.session.feed(OPEN)
    stream = host.session.streams[1]
    stream.credit = 1
    host.session.feed(frame(frames.DATA, frames.END_STREAM, 1, b"abc"))
    assert stream.blocked_since == 5.0
    now[0] = 7.0
    host.session.feed(window_update(1, 1))
    assert stream.blocked_since == 7.0, "a client that takes a little is not gone"
    host.session.feed(window_update(1, 1))
    assert stream.closed


class Conversation:
    """h2 on one side, the session on the other; `cut` bytes arrive at a time."""

    def __init__(self, bodies, cut, settings):
        self.client, self.cut = h2_client(), cut
        self.client.update_settings(settings)
        self.left, self.got, self.ended = {}, {}, set()
        for body in bodies:
            number = self.client.get_next_available_stream_id()
            self.client.send_headers(number, FIELDS)
            self.left[number], self.got[number] = body, b""
        sizes = dict(self.left)
        lacking = lambda call: len(sizes[call.stream.number]) - len(call.body)  # noqa: E731
        self.host = EchoHost(lacking=lacking, room_bytes=60_000)

    def send(self, number):
        """As much of a body as may be sent."""
        room = min(self.client.local_flow_control_window(number), self.client.max_outbound_frame_size)
        if not room and self.left[number]:
            return
        part, self.left[number] = self.left[number][:room], self.left[number][room:]
        self.client.send_data(number, part, end_stream=not self.left[number])
        if not self.left[number]:
            del self.left[number]

    def exchange(self):
        """What waits on both sides."""
        self.host.session.rest()
        sent = self.client.data_to_send()
        for at in range(0, len(sent), self.cut):
            self.host.session.feed(sent[at : at + self.cut])
        for event in self.client.receive_data(self.host.take()):
            assert not isinstance(event, StreamReset)
            if isinstance(event, DataReceived):
                self.got[event.stream_id] += event.data
                self.client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, TrailersReceived):
                assert event.headers == [(b"end", b"here")]
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream_id)


@settings(max_examples=80, deadline=None)
@given(
    bodies=strategies.lists(strategies.binary(max_size=200).map(lambda part: part * 400), min_size=1, max_size=5),
    window=strategies.just(0) | strategies.integers(1_000, 70_000), frame_bytes=strategies.integers(2**14, 2**17),
    cut=strategies.integers(1, 50_000), seed=strategies.integers(0, 99),
)  # fmt: skip
def test_whatever_h2_sends_comes_back(bodies, window, frame_bytes, cut, seed):
    wanted = {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: frame_bytes}
    talk = Conversation(bodies, cut, wanted)
    chance = random.Random(seed)
    for _ in range(10_000):
        if talk.left:
            talk.send(chance.choice(sorted(talk.left)))
        talk.exchange()
        if talk.ended == set(talk.got):
            break
        if window == 0 and not talk.left:
            # Nothing comes by itself.
            for number in set(talk.got) - talk.ended:
                talk.client.increment_flow_control_window(5_000, number)
    assert list(talk.got.values()) == bodies


@settings(max_examples=300, deadline=None)
@given(
    strategies.lists(
        strategies.builds(
            frame, strategies.integers(0, 12), strategies.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 0xFF]),
            strategies.sampled_from([0, 1, 2, 3, 5, 2**31 - 1, 2**31 + 1]),
            strategies.binary(max_size=40) | strategies.just(HEAD) | strategies.just(bytes(8)),
        ),
        max_size=30,
    ),
    strategies.integers(1, 500),
)  # fmt: skip
def test_no_frames_fail_in_another_way(sent, cut):
    host = EchoHost()
    stream = HELLO + b"".join(sent)
    try:
        for at in range(0, len(stream), cut):
            host.session.feed(stream[at : at + cut])
    except Http2Error as error:
        assert error.code in range(12)
    host.session.leave(0)
    host.session.lost()
    assert len(host.frames()) >= 3
    assert not host.session.streams
