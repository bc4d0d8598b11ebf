"""What both clients agree on about httpx: its options, and what its exceptions mean."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from penstock.sdk.messages import Incoming, Lost

# Less than the 120 s after which a node closes an idle connection: closed by us first, no call meets the reset.
_LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=60)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def options_for(address: str) -> dict[str, Any]:
    """The options of a client of our own. A proxy named in the environment is never meant for this very machine."""
    return {"limits": _LIMITS, "trust_env": urlsplit(address).hostname not in _LOOPBACK}


def lost(error: httpx.RequestError, *, answering: bool) -> Lost:
    """Where an exchange broke; `answering` says that the head of an answer had arrived."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return Lost("timeout", reason)
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError)):
        return Lost("connect", reason)
    return Lost("in-answer" if answering else "before-answer", reason)


def incoming(response: httpx.Response, body: bytes) -> Incoming:
    """A whole answer as a plain value; httpx gives header names in lower case."""
    return Incoming(response.status_code, dict(response.headers), body)
