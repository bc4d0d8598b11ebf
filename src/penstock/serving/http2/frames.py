"""Frames as bytes, and the numbers of the protocol. Source: RFC 9113, sections 4 to 7; RFC 7541, 6.2.2."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Length as 16 and 8 bits, kind, flags, stream.
HEADER = Struct(">HBBBL")
# fmt: off
(DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION) = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITIZED = 0x4, 0x8, 0x20
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM) = range(12)
(HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE,
 MAX_HEADER_LIST_SIZE) = range(1, 7)
# fmt: on
# The size of a frame, and of every window, until somebody says otherwise (6.5.2).
FRAME_BYTES = 2**14
WINDOW_BYTES = 2**16 - 1
LARGEST_WINDOW = 2**31 - 1


class Http2Error(Exception):
    """The client broke the protocol, and its connection cannot go on; `code` is one of section 7."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    r"""One frame.

    Example:
        >>> frame(PING, ACK, 0, b"12345678")
        b'\x00\x00\x08\x06\x01\x00\x00\x00\x0012345678'
    """
    return head(len(payload), kind, flags, stream) + payload


def head(length: int, kind: int, flags: int, stream: int) -> bytes:
    """The nine bytes before a payload of this length."""
    return HEADER.pack(length >> 8, length & 255, kind, flags, stream)


def settings(values: Mapping[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(Struct(">HL").pack(*pair) for pair in values.items()))


def window_update(stream: int, size: int) -> bytes:
    """A WINDOW_UPDATE frame: the other side may send `size` bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4))


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4))


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame: streams after `last` were not looked at."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + text.encode())


def literal(name: bytes, value: bytes) -> bytes:
    r"""One header field as a literal that nobody remembers (RFC 7541, 6.2.2).

    Example:
        >>> literal(b"grpc-status", b"0")
        b'\x00\x0bgrpc-status\x010'
    """
    if len(name) < 127 and len(value) < 127:
        return b"\0%c%b%c%b" % (len(name), name, len(value), value)
    return b"\0%b%b%b%b" % (_integer(len(name)), name, _integer(len(value)), value)


def _integer(value: int) -> bytes:
    """An integer with a prefix of seven bits (RFC 7541, 5.1)."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding (6.1); raises Http2Error."""
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Http2Error(PROTOCOL_ERROR, "a frame is shorter than its padding")
    return payload[1 : len(payload) - payload[0]]
