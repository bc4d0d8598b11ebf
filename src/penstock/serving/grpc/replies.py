"""A reply as the header blocks of an answer: its header lines as trailing metadata, and the status of the RPC."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from penstock.serving.http2.frames import literal

# `:status: 200` of the static table, and `content-type` as a literal by its index there (RFC 7541, appendix A).
INITIAL = b"\x88\x0f\x10\x10application/grpc"
_ACCEPTED = literal(b"grpc-accept-encoding", b"identity, gzip, deflate")
_LONGEST_TEXT = 1024
_OK = literal(b"grpc-status", b"0")
# What stands as it is in grpc-message: printable ASCII but for the percent sign.
_SAFE = "".join(chr(code) for code in range(32, 127) if code != 37)


def trailers_of(lines: bytes, text: bytes) -> tuple[bytes, bool]:
    r"""The header block of a reply's header lines, and whether they tell of a failure, whose text is `text`.

    Example:
        >>> trailers_of(b"x-request-id: 7\r\n", b"")
        (b'\x00\x0cx-request-id\x017\x00\x0bgrpc-status\x010', False)
    """
    block, status = [], b""
    for line in lines.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"grpc-status":
            status = value
        elif name:
            block.append(literal(name, _printable(value)))
    if not status:
        block.append(_OK)
        return b"".join(block), False
    # Clients refuse trailers beyond some kilobytes, and then hear nothing of what was wrong.
    said = quote_from_bytes(text[:_LONGEST_TEXT].decode(errors="ignore").encode(), _SAFE)
    block += (literal(b"grpc-status", status), literal(b"grpc-message", said.encode()))
    block.append(_ACCEPTED)
    return b"".join(block), True


def http_status(status: int) -> bytes:
    """The header block of an answer to what is no RPC."""
    return b"\x08\x03%d" % status


def prefixed(message: bytes) -> bytes:
    """A message as it stands in a body."""
    return b"\0%b%b" % (len(message).to_bytes(4), message)


def _printable(value: bytes) -> bytes:
    # Metadata is printable ASCII; what callers sent to be sent back may be anything.
    return value if value.isascii() else value.decode("ascii", "backslashreplace").encode()
