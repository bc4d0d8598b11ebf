"""One stream: a request that comes and an answer that goes, each with its window."""

from __future__ import annotations

from collections import deque


class Sink:
    """What takes the request of a stream. What it does not override it does not care for."""

    __slots__ = ()

    def data(self, payload: bytes) -> None:
        """Take some of the body; may answer."""

    def end(self) -> None:
        """The request is complete."""

    def sent(self) -> None:
        """All that waited to be sent was sent."""

    def lost(self) -> None:
        """Nobody waits for the answer any more."""

    def check(self, now: float) -> None:
        """End what takes too long; asked every second or so."""

    def drain(self) -> None:
        """Take no more of a request that has no end."""


# What takes the request of a stream that was answered at once.
NOBODY = Sink()


class Stream:
    """`window` is what the client may still send, `credit` what may be sent to it, in bytes of DATA.

    `granted` is what it may send beyond what every stream may. `ended` says that the request is complete, `closed` that
    the stream is gone. `out` waits to be sent, then `trailers`; `blocked_since` tells since when, or None.
    """

    # fmt: off
    __slots__ = (
        "blocked_since", "closed", "credit", "ended", "granted", "number", "out", "sink", "trailers", "waiting",
        "window",
    )
    # fmt: on

    def __init__(self, number: int, window: int, credit: int) -> None:
        self.number = number
        self.window = window
        self.credit = credit
        self.granted = 0
        self.waiting = False
        self.ended = False
        self.closed = False
        self.out: deque[memoryview] = deque()
        self.trailers: bytes | None = None
        self.blocked_since: float | None = None
        self.sink: Sink = NOBODY
