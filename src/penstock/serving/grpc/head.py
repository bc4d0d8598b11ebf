"""What the head of an RPC says: its method, and metadata as the headers of a request."""

from __future__ import annotations

import re

import msgspec

from penstock.core.errors import InvalidInput, PenstockError, TooLarge
from penstock.serving.access import HEADERS
from penstock.serving.http2.heads import Fields

TIMEOUT = b"penstock-timeout-ms"
# gRPC has its own compression; a message that these would change could not be read.
_OF_HTTP = frozenset({b"content-encoding", b"accept-encoding", b"content-type", b"te"})
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_MS = 10**9 - 1


class Head(msgspec.Struct, frozen=True):
    """The head of an RPC. Nobody changes `headers`: they are those of every call with the same head.

    `http_status` is not 0 where it is no RPC at all; `problem` is what is wrong with it. `timeout_s` is its deadline
    from its arrival on, which is in the headers, too.
    """

    path: bytes
    headers: dict[bytes, bytes] = {}
    encoding: bytes = b""
    timeout_s: float | None = None
    http_status: int = 0
    problem: PenstockError | None = None


def understand(fields: Fields, max_bytes: int) -> Head:
    """The head in well-formed header fields; more than `max_bytes` of them (RFC 9113, 6.5.2) are a problem.

    Example:
        >>> head = understand([(b":method", b"POST"), (b":path", b"/a.B/C"), (b"content-type", b"application/grpc"),
        ...                    (b"grpc-timeout", b"2S"), (b"x-user", b"7")], 1000)
        >>> head.path, head.headers
        (b'/a.B/C', {b'x-user': b'7', b'penstock-timeout-ms': b'2000'})
    """
    headers: dict[bytes, bytes] = {}
    problem: PenstockError | None = None
    for name, value in fields:
        if name in headers and name in HEADERS:
            problem = InvalidInput("conflicting-headers", f"the metadata {name.decode()} is sent twice")
        headers[name] = value
    if sum(32 + len(name) + len(value) for name, value in fields) > max_bytes:
        problem = TooLarge("head-too-large", f"the metadata is larger than the {max_bytes} bytes this node takes")
    path = headers.get(b":path", b"")
    if headers.get(b":method") != b"POST":
        return Head(path, http_status=405)
    kind = headers.get(b"content-type", b"")
    if not kind.startswith(b"application/grpc") or kind[16:17] not in (b"", b"+", b";"):
        return Head(path, http_status=415)
    given = headers.get(b"grpc-timeout")
    timeout_s = None
    kept = {name: value for name, value in headers.items() if not _of_transport(name)}
    if given is not None:
        found = _TIMEOUT.fullmatch(given)
        if found is None:
            problem = InvalidInput("invalid-timeout", "grpc-timeout is not a number of up to 8 digits and its unit")
        else:
            timeout_s = int(found[1]) * _SECONDS[found[2]]
            kept = with_timeout(kept, timeout_s)
    return Head(path, kept, headers.get(b"grpc-encoding", b""), timeout_s, 0, problem)


def with_timeout(headers: dict[bytes, bytes], timeout_s: float) -> dict[bytes, bytes]:
    """The headers with a deadline, unless they have a shorter one of their own."""
    milliseconds = max(0, min(int(timeout_s * 1e3), _LONGEST_MS))
    given = headers.get(TIMEOUT)
    # What is no number is left for the flow to refuse.
    if given is not None and not (given.isdigit() and len(given) < 10 and int(given) > milliseconds):
        return headers
    return {**headers, TIMEOUT: b"%d" % milliseconds}


def _of_transport(name: bytes) -> bool:
    return name.startswith((b":", b"grpc-")) or name in _OF_HTTP
