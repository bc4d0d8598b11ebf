"""Failed attempts to be somebody, counted by the address that they come from.

A key is 256 random bits and is not found by trying: what is bounded here is how much of our work, and of the log, one
who tries all the same gets. Who has a valid key is never counted and never kept out, whatever others do behind the same
address (an office's, a proxy's); so what was sent is looked at first, and only what failed is counted.
"""

from __future__ import annotations

import ipaddress
import math
import threading

from penstock.core.clock import Clock
from penstock.core.errors import Overloaded, PenstockError, Unauthenticated
from penstock.security.rates import Rate, take

PATIENCE = Rate(per_s=1, burst=100)
_MOST_NETWORKS = 4096
# Only guesses: who sends none, or one that was good until yesterday, finds nothing out.
_GUESSES = frozenset({"invalid-key", "invalid-token"})


class Failures:
    """The failures of one process, safe among threads.

    Beyond 4096 addresses the one that has been quiet for longest is forgotten, and would start anew.
    """

    def __init__(self, clock: Clock, patience: Rate = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._full_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def told(self, error: Unauthenticated, peer: str) -> PenstockError:
        """What `peer` is told: `error`, or Overloaded (`too-many-failures`) when it has guessed too often.

        A peer without an address ("", a Unix socket of the home's owner) is not counted.
        """
        if error.code not in _GUESSES or not peer:
            return error
        network, now = _network_of(peer), self._clock()
        with self._lock:
            full_at, wait_s = take(self._full_at.pop(network, 0.0), self._patience, now)
            self._full_at[network] = full_at
            if len(self._full_at) > _MOST_NETWORKS:
                del self._full_at[next(iter(self._full_at))]
        if not wait_s:
            return error
        return Overloaded(
            "too-many-failures",
            "too many keys or tokens from this address were not valid",
            hint="send a valid one: it is taken at once",
            retry_after_s=max(1, math.ceil(wait_s)),
        )


def _network_of(peer: str) -> str:
    """What one attacker has: an IPv4 address, or a /64 of IPv6."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or int(address) >> 64)
