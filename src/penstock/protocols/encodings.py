"""Content codings of a request's body: none is undone.

A compressed body would be a bomb that no limit of size sees before it is undone, and its bytes taken as they are would
be called bad JSON, which helps nobody.
"""

from __future__ import annotations

from penstock.core.errors import UnsupportedMedia


def refuse_encoding(value: bytes) -> None:
    """Raise UnsupportedMedia unless the header `Content-Encoding` says that nothing was done to the body.

    Example:
        >>> refuse_encoding(b"identity")
        >>> refuse_encoding(b"gzip")
        Traceback (most recent call last):
        penstock.core.errors.UnsupportedMedia: the body has Content-Encoding 'gzip', this node takes identity only; ...
    """
    # A list may name `identity` more than once; empty elements count for nothing (RFC 9110, 5.6.1).
    if not {coding.strip().lower() for coding in value.split(b",")} <= {b"", b"identity"}:
        raise UnsupportedMedia(
            "unsupported-encoding",
            f"the body has Content-Encoding {value.decode('latin-1')[:60]!r}, this node takes identity only",
            hint="send the body uncompressed, without that header",
        )
