"""Who may call, as the routes say it: each request's key, checked here and without asking anybody.

The usual request sends a key that was checked before, in the same bytes. What came of it is kept by these bytes, so
it costs a look-up; what depends on the moment (expiry, rate) is looked at every time. The look-up compares by a hash
that is seeded at random in every process, and bytes only where that is equal: its time tells nothing about a key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from penstock.core.clock import Clock, monotonic, timestamp, wall
from penstock.core.errors import Forbidden, Overloaded, Unauthenticated
from penstock.core.routes import Access, KeyEntry
from penstock.security.failures import Failures
from penstock.security.keys import invalid_key, matches, parse_key_id
from penstock.security.rates import Rate, rate_of, take
from penstock.serving.buckets import Buckets, open_buckets

# In this order; a value that is no key of ours (a gateway's token) is passed over when a later one is.
HEADERS = (b"authorization", b"x-api-key", b"penstock-key")
_MOST_KNOWN = 4096
_BEARER = b"bearer "
# Compared with where there is no entry, so that an unknown id takes as long as a wrong secret.
_NOBODY = KeyEntry(digest="sha256:" + 64 * "0", subject="")


class Caller(msgspec.Struct, frozen=True, gc=False):
    """One key's holder. `bucket` is the index of its rate; `logged` is its part of a line of the access log.

    With `overrides` it may choose the arm.
    """

    subject: str
    endpoints: frozenset[str] | None
    expires_at: float | None
    rate: Rate | None
    bucket: int
    logged: str
    overrides: bool = False

    def may_call(self, endpoint: str) -> bool:
        """Whether the key is for this endpoint."""
        return self.endpoints is None or endpoint in self.endpoints

    def check(self, endpoint: str) -> None:
        """Raise Forbidden (`endpoint-forbidden`) where the key is not for this endpoint."""
        if not self.may_call(endpoint):
            raise _not_for_it()


class AccessTable:
    """The keys of one route document; replaced as a whole by the next one."""

    def __init__(
        self,
        access: Access,
        buckets: Buckets,
        logged: Callable[[str], str] = lambda subject: "",
        clock: Clock = wall,
        failures: Failures | None = None,
    ) -> None:
        self.access = access
        self._entries = access.keys
        self._callers = {
            key_id: Caller(
                entry.subject,
                None if entry.endpoints is None else frozenset(entry.endpoints),
                entry.expires_at,
                None if entry.rate_per_s is None else rate_of(entry.rate_per_s),
                buckets.index.get(key_id, 0),
                logged(entry.subject),
                entry.overrides,
            )
            for key_id, entry in access.keys.items()
        }
        self._cells = buckets.cells
        self._clock = clock
        self._failures = failures if failures is not None else Failures(monotonic)
        self._known: dict[bytes | None, Caller] = {}

    def admit(self, headers: Mapping[bytes, bytes], endpoint: str, now: float, peer: str = "") -> Caller:
        """Who calls `endpoint` at `now` (monotonic seconds) from the address `peer`; takes one from the key's rate.

        Raises Unauthenticated (`missing-key`, `invalid-key`, `expired-key`), Forbidden (`endpoint-forbidden`),
        Overloaded (`rate-exceeded`, `too-many-failures`).
        """
        caller = self._known.get(headers.get(b"authorization"))
        if caller is None or caller.expires_at is not None:
            caller = self.identify(headers, peer)
        if caller.endpoints is not None and endpoint not in caller.endpoints:
            raise _not_for_it()
        if caller.rate is not None:
            self._count(caller.rate, caller.bucket, now)
        return caller

    def look(self, headers: Mapping[bytes, bytes], endpoint: str, peer: str = "") -> Caller:
        """Who looks at a page about `endpoint`; raises as `admit` does, and counts nothing."""
        caller = self.identify(headers, peer)
        caller.check(endpoint)
        return caller

    def identify(self, headers: Mapping[bytes, bytes], peer: str = "") -> Caller:
        """Whose key it is; raises Unauthenticated, Overloaded (`too-many-failures`)."""
        try:
            return self._identify(headers)
        except Unauthenticated as error:
            raise self._failures.told(error, peer) from None

    def _identify(self, headers: Mapping[bytes, bytes]) -> Caller:
        caller = None
        for name in HEADERS:
            value = headers.get(name)
            if value is not None and caller is None:
                caller = self._known.get(value) or self._check(value)
        if caller is None:
            if any(name in headers for name in HEADERS):
                raise invalid_key()
            raise Unauthenticated(
                "missing-key", "this node answers who has a key", hint="send the header authorization: Bearer pk_..."
            )
        if caller.expires_at is not None and self._clock() >= caller.expires_at:
            raise Unauthenticated(
                "expired-key", f"the key expired at {timestamp(caller.expires_at)}", hint="ask for a new one"
            )
        return caller

    def _check(self, value: bytes) -> Caller | None:
        """The holder of the key in a header's value, None if that is something else; raises Unauthenticated."""
        key = value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else value
        if not key.startswith(b"pk_"):
            return None
        text = key.decode("latin-1")
        key_id = parse_key_id(text)
        if not matches(text, self._entries.get(key_id, _NOBODY).digest) or key_id not in self._entries:
            raise invalid_key()
        # Only good keys are kept, but each in as many forms as its holder cares to write.
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[value] = caller = self._callers[key_id]
        return caller

    def _count(self, rate: Rate, bucket: int, now: float) -> None:
        full_at, wait_s = take(self._cells[bucket], rate, now)
        if wait_s:
            raise Overloaded(
                "rate-exceeded",
                f"the key may call {rate.per_s:g} times a second",
                retry_after_s=max(1, math.ceil(wait_s)),
            )
        self._cells[bucket] = full_at


def access_table(
    access: Access | None,
    before: AccessTable | None,
    directory: Path,
    logged: Callable[[str], str],
    failures: Failures | None = None,
) -> AccessTable | None:
    """The table of a new route document, or the one from before where nothing changed: what it knows stays known."""
    if access is None or (before is not None and before.access == access):
        return None if access is None else before
    rated = [key_id for key_id, entry in access.keys.items() if entry.rate_per_s is not None]
    return AccessTable(access, open_buckets(directory, rated), logged, failures=failures)


def _not_for_it() -> Forbidden:
    # Whether the endpoint exists is not looked at: a key tells nothing about those it is not for. Nor is it named, for
    # an address may name none: then its name would be that of the default.
    return Forbidden("endpoint-forbidden", "the key is not for this endpoint")
