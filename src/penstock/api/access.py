"""Who is asking: from the header of a request to an identity that may do what the door does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import Header, Request

from penstock.api.doors import Doors, doors_of
from penstock.core.clock import Clock
from penstock.core.errors import InvalidInput, Overloaded, Unauthenticated
from penstock.security.identity import Identity
from penstock.security.permissions import Action, allow
from penstock.security.rates import Rate, take
from penstock.security.tokens import looks_like_token

_MOST_CALLERS = 10_000


def identify(request: Request, authorization: Annotated[str, Header(include_in_schema=False)] = "") -> Identity:
    """Who holds the key or token of `Authorization: Bearer …`, within the rate."""
    doors = doors_of(request)
    if len(request.headers.getlist("authorization")) > 1:
        raise InvalidInput("conflicting-headers", "the header authorization is sent twice", hint="send one key")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise Unauthenticated("missing-key", "this needs a key", hint="send the header Authorization: Bearer KEY")
    try:
        found = identity_of(doors, text.strip())
    except Unauthenticated as error:
        raise doors.failures.told(error, request.client.host if request.client is not None else "") from None
    doors.rates.check(found.subject)
    return found


def identity_of(doors: Doors, text: str) -> Identity:
    """Who this text proves: an API key, or a token of the configured issuer."""
    if doors.verify_token is not None and looks_like_token(text):
        return doors.verify_token(text)
    return doors.control.identify(text)


def may(action: Action, *, somewhere: bool = False) -> Callable[..., Identity]:
    """A dependency: the caller's identity, who may do `action` on all endpoints.

    With `somewhere` a role that is confined to some endpoints is enough: control, which knows the endpoint, asks again.
    """

    def checked(request: Request, authorization: Annotated[str, Header(include_in_schema=False)] = "") -> Identity:
        identity = identify(request, authorization)
        allow(msgspec.structs.replace(identity, endpoints=None) if somewhere else identity, action)
        return identity

    return checked


class Rates:
    """How often each subject may ask, on this process."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._buckets: dict[str, float] = {}
        self._lock = threading.Lock()

    def check(self, subject: str) -> None:
        """Count one request; raises Overloaded (`rate-exceeded`) beyond the rate."""
        with self._lock:
            if len(self._buckets) > _MOST_CALLERS:
                self._buckets.clear()
            now = self._clock()
            self._buckets[subject], wait_s = take(self._buckets.get(subject, 0.0), self._rate, now)
        if wait_s > 0:
            raise Overloaded(
                "rate-exceeded", f"{subject} asks too often", hint="wait", retry_after_s=max(1, round(wait_s))
            )
