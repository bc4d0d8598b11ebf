"""Header blocks (RFC 7541), and what they say once they were read.

Clients send the same bytes again and again. While a connection's table does not change, equal bytes mean equal fields,
so a block is decoded and understood once: docs/decisions/known-heads.md tells it of HTTP/1.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Generic, TypeVar

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from penstock.serving.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Http2Error

Fields = list[tuple[bytes, bytes]]
Head = TypeVar("Head")

# Each connection has its own: they must stay small beside what its streams may hold.
_MOST = 64
_LARGEST = 4096
# A field name (RFC 9113, 8.2.1), a pseudo-header's colon apart; a value has no line end, NUL, or space at its ends.
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+", re.ASCII)
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
# They are of HTTP/1.1 connections (8.2.2).
_FORBIDDEN = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


class Heads(Generic[Head]):
    """The heads of one connection. `understand` makes of fields what the host wants to know; it must be pure."""

    def __init__(self, understand: Callable[[Fields], Head], max_bytes: int) -> None:
        self._understand = understand
        self._decoder = Decoder(max_header_list_size=max_bytes)
        self._known: dict[bytes, Head | None] = {}

    def read(self, block: bytes) -> Head | None:
        """What a block says, None where it is no well-formed head of a request; raises Http2Error."""
        if block in self._known:
            return self._known[block]
        table = self._decoder.header_table
        before = (table.maxsize, *table.dynamic_entries)
        try:
            fields: Fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise Http2Error(ENHANCE_YOUR_CALM, "a header list is larger than this server takes") from None
        except (HPACKError, IndexError, ValueError) as error:
            raise Http2Error(COMPRESSION_ERROR, f"a header block cannot be read: {error}") from None
        found = self._understand(fields) if well_formed(fields) else None
        if (table.maxsize, *table.dynamic_entries) != before or len(self._known) >= _MOST:
            # The block changed the table: it and the others would mean something else the next time.
            self._known.clear()
        elif len(block) <= _LARGEST:
            self._known[block] = found
        return found


def well_formed(fields: Fields) -> bool:
    """Whether these are the fields of a request (RFC 9113, 8.2 and 8.3).

    Example:
        >>> request = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b"te", b"trailers")]
        >>> well_formed(request), well_formed([*request, (b":path", b"/b")]), well_formed([(b"X", b"y")])
        (True, False, False)
    """
    pseudo: set[bytes] = set()
    regular = False
    for name, value in fields:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name in _FORBIDDEN:
            return False
        if not name.startswith(b":"):
            regular = True
        elif regular or name in pseudo or name not in _PSEUDO:
            return False
        else:
            pseudo.add(name)
        if name == b"te" and value != b"trailers":
            return False
    return pseudo >= _REQUIRED and dict(fields)[b":path"] != b""
