"""Content codings of bodies, gzip and deflate, both ways (RFC 9110, 8.4.1 and 12.5.3).

A compressed body may be a bomb: a kilobyte that unfolds to a gigabyte. It is undone piece by piece and never beyond the
endpoint's limit of size.
"""

from __future__ import annotations

import zlib

from penstock.core.errors import InvalidInput, TooLarge, UnsupportedMedia

# Below, packing costs more time than the bytes it saves; and most clients say that they take gzip without needing it.
SMALLEST_PACKED_BYTES = 4096
_LEVEL = 1
_GZIP, _ZLIB, _RAW = 31, 15, -15
_KNOWN = frozenset({b"gzip", b"x-gzip", b"deflate"})


def undone(body: bytes, value: bytes, limit: int) -> bytes:
    """The body as it was before the codings in the header `Content-Encoding` were applied.

    Raises UnsupportedMedia for a coding that is not known, TooLarge beyond `limit` bytes, InvalidInput for bytes that
    are not in the stated coding.

    Example:
        >>> import gzip
        >>> undone(gzip.compress(b"rows"), b"gzip", limit=100)
        b'rows'
    """
    # A list may name `identity` more than once; empty elements count for nothing (RFC 9110, 5.6.1).
    codings = [coding for part in value.split(b",") if (coding := part.strip().lower()) not in (b"", b"identity")]
    if not _KNOWN.issuperset(codings) or len(codings) > 2:
        raise UnsupportedMedia(
            "unsupported-encoding",
            f"the body has Content-Encoding {value.decode('latin-1')[:60]!r}, which is not gzip, deflate or identity",
            hint="send the body uncompressed, without that header",
        )
    for coding in reversed(codings):
        body = _inflate(body, coding, limit)
    return body


def packed(body: bytes, accepted: bytes) -> tuple[bytes, bytes] | None:
    r"""The body in a coding that the header `Accept-Encoding` takes, and its header line; None where it stays as it is.

    Example:
        >>> packed(b"0" * 10_000, b"gzip;q=0, deflate")[1]
        b'content-encoding: deflate\r\n'
    """
    if len(body) < SMALLEST_PACKED_BYTES:
        return None
    taken = {}
    for part in accepted.lower().split(b","):
        coding, _, weight = part.partition(b";")
        taken[coding.strip()] = weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    for name, window in ((b"gzip", _GZIP), (b"deflate", _ZLIB)):
        if taken.get(name, False):
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window)
            return packer.compress(body) + packer.flush(), b"content-encoding: %b\r\n" % name
    return None


def _inflate(body: bytes, coding: bytes, limit: int) -> bytes:
    # "deflate" is the zlib form (RFC 9110, 8.4.1.2); some clients send it bare.
    bare = coding == b"deflate" and not (len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0)
    window = _RAW if bare else _ZLIB if coding == b"deflate" else _GZIP
    out = b""
    while True:
        undo = zlib.decompressobj(window)
        try:
            out += undo.decompress(body, limit - len(out) + 1)
        except zlib.error as error:
            raise InvalidInput("invalid-encoding", f"the body is not {coding.decode()}: {error}") from None
        if len(out) > limit or undo.unconsumed_tail:
            raise TooLarge("body-too-large", f"the body is larger than the {limit} bytes this endpoint takes")
        if not undo.eof:
            raise InvalidInput("invalid-encoding", f"the body's {coding.decode()} ends before it is complete")
        body = undo.unused_data
        if not body:
            return out
        if window != _GZIP:
            raise InvalidInput("invalid-encoding", f"bytes follow the body's {coding.decode()}")
