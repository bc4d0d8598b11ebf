"""The connections that are at a port of one process: who has to leave, and when the last one has."""

from __future__ import annotations

import asyncio
from typing import Protocol

from penstock.core.clock import Clock


class Guest(Protocol):
    """A connection."""

    def check(self, now: float) -> None:
        """Close the connection when its client is too slow, or idle for too long."""

    def drain(self) -> None:
        """Close now if nothing is owed, else after the last reply."""


class Guests:
    """See the module. `emptied` is set when nobody is left of a port that drains."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.connections: set[Guest] = set()
        self.draining = False
        self.emptied = asyncio.Event()

    def sweep(self) -> None:
        """Close what is too slow or idle; called every second or so. One timer for all costs nothing per request."""
        now = self.clock()
        for connection in list(self.connections):
            connection.check(now)

    def drain(self) -> None:
        """Close idle connections now and every other one after its last reply."""
        self.draining = True
        for connection in list(self.connections):
            connection.drain()
        self._look()

    def left(self, connection: Guest) -> None:
        """A connection is gone; the last one to go while draining sets `emptied`."""
        self.connections.discard(connection)
        self._look()

    def _look(self) -> None:
        if self.draining and not self.connections:
            self.emptied.set()
