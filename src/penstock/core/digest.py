"""Digests: the SHA-256 of bytes, files and canonical JSON, written `sha256:<64 hex digits>`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

PREFIX = "sha256:"
_canonical = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for `value`: sorted keys, no white space, UTF-8.

    Example:
        >>> canonical_json({"b": 1, "a": [1.5, None]})
        b'{"a":[1.5,null],"b":1}'
    """
    return _canonical.encode(value)


def digest_of(data: bytes) -> str:
    """The digest of bytes.

    Example:
        >>> digest_of(b"")[:19]
        'sha256:e3b0c44298fc'
    """
    return PREFIX + hashlib.sha256(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """The digest of a file's bytes, read in pieces so that a large model is never held in memory."""
    with path.open("rb") as file:
        return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()


def short(digest: str) -> str:
    """The first 12 hex digits: the version of a bundle that is served without a registry.

    Example:
        >>> short(digest_of(b""))
        'e3b0c44298fc'
    """
    return digest.removeprefix(PREFIX)[:12]
