"""Heads of requests that were parsed before: clients send the same bytes again and again, so they are parsed once.

Parsing is a function of the bytes alone, so equal bytes mean an equal head. Only a request that came in one read, and
was nothing but a head and a body of the length it states, is kept: what it did to the parser's state is nothing.
"""

from __future__ import annotations

import msgspec

_END = b"\r\n\r\n"
_MOST = 512
_LARGEST = 4096
# They differ from request to request, or change what the connection does next.
_NOT_KEPT = frozenset(
    {b"traceparent", b"tracestate", b"x-request-id", b"expect", b"transfer-encoding", b"upgrade", b"connection"}
)


class Head(msgspec.Struct, frozen=True, gc=False):
    """A parsed head: header names are lower case, `length` is that of the body in bytes. Nobody changes `headers`."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]
    length: int


class Heads:
    """The heads of one process, by their bytes. When full it is emptied: what is still sent comes back at once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def split(self, data: bytes) -> tuple[Head, bytes] | None:
        """Head and body of `data` if it is one whole request with a known head."""
        end = data.find(_END) + 4
        head = self._known.get(data[:end])
        if head is None or len(data) - end != head.length:
            return None
        return head, data[end:]

    def keep(self, data: bytes, head: Head) -> None:
        """Remember what the parser made of `data`, in which exactly one request began and ended."""
        end = data.find(_END) + 4
        if len(data) - end != head.length or end > _LARGEST or not _NOT_KEPT.isdisjoint(head.headers):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[data[:end]] = head
