"""What all HTTP/1.1 connections of one process share: the flow behind them, and the limits before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from penstock.core.clock import Clock
from penstock.serving.http.guests import Guests
from penstock.serving.http.heads import Heads
from penstock.serving.http.message import Reply, Request

Answer = Callable[[Request], Reply | Coroutine[Any, None, Reply]]
# URL, headers and peer of a request whose body is still to come; raises where it need not come.
CheckHead = Callable[[bytes, dict[bytes, bytes], str], None]


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may do. Sizes in bytes, times in seconds.

    `max_head_bytes` is counted from the second read of a request on: the first one is up to 256 KiB.
    """

    max_head_bytes: int = 32 * 2**10
    max_body_bytes: int = 64 * 2**20
    request_timeout_s: float = 30
    idle_timeout_s: float = 120
    max_pipelined: int = 64
    max_connections: int = 8192


class Door(Guests):
    """See the module. `body_limit` tells the largest body of a URL, `smallest_body_limit` one that fits all URLs.

    `soon` is how work is put off to the end of this turn of the event loop.
    """

    def __init__(
        self,
        answer: Answer,
        limits: HttpLimits,
        clock: Clock,
        body_limit: Callable[[bytes], int],
        check_head: CheckHead = lambda url, headers, peer: None,
        soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        super().__init__(clock)
        self.answer = answer
        self.limits = limits
        self.body_limit = body_limit
        self.check_head = check_head
        self.smallest_body_limit = 0
        self.heads = Heads()
        self._soon = asyncio.get_running_loop().call_soon if soon is None else soon
        self._outgoing: list[tuple[asyncio.Transport, bytes]] = []

    def send(self, transport: asyncio.Transport, data: bytes) -> None:
        """Write soon, one after the other with what else is ready by then.

        Replies of one batch that leave one by one, with work between, each wake a client that had gone to sleep, and
        waking costs the sender more than writing.
        """
        self._outgoing.append((transport, data))
        if len(self._outgoing) == 1:
            self._soon(self.flush)

    def flush(self) -> None:
        """Write what waits to be sent."""
        outgoing, self._outgoing = self._outgoing, []
        for transport, data in outgoing:
            # A client may have gone meanwhile; the transport would complain of it on stderr.
            if not transport.is_closing():
                transport.write(data)
