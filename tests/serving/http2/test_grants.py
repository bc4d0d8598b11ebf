"""What streams may send: the window of the connection, and what large messages are granted."""

from hypothesis import given, strategies

from penstock.serving.http2.frames import LARGEST_WINDOW, WINDOW_BYTES, window_update
from penstock.serving.http2.grants import Grants
from penstock.serving.http2.stream import Stream


def test_the_window_of_a_connection_opens_again_when_half_of_it_is_used():
    written = []
    grants = Grants(written.append, 1)
    grants.open()
    assert written == [window_update(0, LARGEST_WINDOW - WINDOW_BYTES)]
    grants.take(LARGEST_WINDOW // 2)
    assert len(written) == 1
    grants.take(2)
    assert written[1:] == [window_update(0, LARGEST_WINDOW // 2 + 2)]


def test_streams_that_are_gone_do_not_wait():
    grants = Grants([].append, 100)
    holder, waiter = Stream(1, WINDOW_BYTES, 0), Stream(3, WINDOW_BYTES, 0)
    for stream in (holder, waiter):
        grants.allow(stream, 10**6)
    for number in range(5, 2005, 2):
        gone = Stream(number, WINDOW_BYTES, 0)
        grants.allow(gone, 10**6)
        gone.closed = True
        grants.free(gone)
    assert len(grants._waiting) == 1
    grants.free(holder)
    assert waiter.granted == 10**6 - WINDOW_BYTES


@given(
    strategies.lists(strategies.integers(1, 400_000), min_size=1, max_size=8),
    strategies.lists(strategies.tuples(strategies.integers(0, 7), strategies.sampled_from(["message", "reset"]))),
)
def test_never_more_than_the_room_and_never_nobody(sizes, ends):
    """Whatever order messages end in: those that are granted fit, or one is alone; and somebody always is."""
    room = 300_000
    grants = Grants([].append, room)
    streams = [Stream(2 * index + 1, WINDOW_BYTES, 0) for index in range(len(sizes))]
    for stream, size in zip(streams, sizes, strict=True):
        grants.allow(stream, size)
    order = [(index % len(sizes), how) for index, how in ends] + [(index, "message") for index in range(len(sizes))]
    for index, how in order:
        granted = [stream.granted for stream in streams if stream.granted]
        assert sum(granted) <= room or len(granted) == 1
        stuck = [stream for stream in streams if stream.waiting and not stream.ended and not stream.closed]
        assert granted or not stuck
        stream = streams[index]
        stream.ended, stream.closed = stream.ended or how == "message", stream.closed or how == "reset"
        grants.free(stream)
    assert not any(stream.granted for stream in streams)
