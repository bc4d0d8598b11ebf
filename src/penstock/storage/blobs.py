"""The port for large immutable files: each is kept under the SHA-256 of its bytes, so nothing is ever overwritten."""

from __future__ import annotations

import re
from collections.abc import Set
from pathlib import Path
from typing import Protocol

from penstock.core.digest import PREFIX
from penstock.core.errors import InvalidInput

_DIGEST = re.compile(PREFIX + "([0-9a-f]{64})")


class Blobs(Protocol):
    """A store of files named by their digest. Every verb may be repeated: the second time changes nothing.

    Adapters raise Unavailable (`artifacts-unavailable`, `disk-full`) when the store cannot be reached or is full.
    """

    def put(self, path: Path) -> str:
        """Store the file's bytes and return their digest; there whole afterwards, or not at all.

        A blob that is already there is left alone, one that was damaged in the meantime is replaced.
        """
        ...

    def fetch(self, digest: str, into: Path) -> Path:
        """A local file with exactly these bytes: the store's own where it is local, else a copy in the folder `into`.

        Raises NotFound (`missing-artifact`), or Refused (`tampered-artifact`) when the bytes are not the ones put.
        """
        ...

    def exists(self, digest: str) -> bool:
        """Whether the blob is there; its bytes are not read."""
        ...

    def uri(self, digest: str) -> str:
        """The address that `penstock.storage.locate.open_uri` takes on any machine that reaches the store.

        It never holds a password: it is written into route documents and logs.
        """
        ...

    def collect(self, keep: Set[str], *, delete: bool) -> int:
        """How many blobs there are whose digest is not in `keep`; with `delete`, those and what killed writers left go.

        Asked twice with `delete`, the second answer is 0.
        """
        ...


def key_of(digest: str) -> str:
    """The name a blob is stored under: the 64 hex digits of its digest.

    Example:
        >>> key_of("sha256:" + "0" * 64)[:8]
        '00000000'
    """
    # Checked here, once: a digest from a database or an address becomes part of a path.
    found = _DIGEST.fullmatch(digest)
    if not found:
        raise InvalidInput("invalid-digest", f"{digest[:80]!r} is not a SHA-256 digest", hint="write sha256:<64 hex>")
    return found[1]
