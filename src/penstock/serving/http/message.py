"""A request and a reply, as plain values between a connection and the flow."""

from __future__ import annotations

import msgspec

# fmt: off
PHRASES = {
    200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 413: "Content Too Large",
    415: "Unsupported Media Type", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable", 504: "Gateway Timeout",
}
# fmt: on
STATUS_LINES = {status: f"HTTP/1.1 {status} {phrase}\r\n".encode() for status, phrase in PHRASES.items()}


class Request(msgspec.Struct, gc=False):
    """One whole request. Header names are lower case; `arrived` is in the node's monotonic seconds.

    `peer` is the address that it came from, "" where there is none.
    """

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    body: bytes
    arrived: float
    peer: str = ""


class Reply(msgspec.Struct, gc=False):
    """One whole reply. `headers` is a block of `name: value` lines, each ended by CR LF, without content-length."""

    status: int
    headers: bytes
    body: bytes


def render(reply: Reply, close: bool) -> bytes:
    r"""The bytes of a reply on the wire.

    Example:
        >>> render(Reply(200, b"x: y\r\n", b"{}"), close=False)
        b'HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\n{}'
    """
    return b"%b%bcontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINES[reply.status],
        reply.headers,
        len(reply.body),
        b"connection: close\r\n" if close else b"",
        reply.body,
    )
