"""API keys: what one looks like, and how it is checked by somebody who does not have it.

A key is `pk_ID_SECRET`. The id finds the entry and is no secret; the secret is 256 bits from the system's random
source, in URL-safe Base64. Kept and handed to nodes is only the SHA-256 of the whole text.

Why a plain digest, without salt or a slow function such as Argon2: those protect secrets that people choose, which
can be guessed from a list. 256 random bits cannot be guessed from anything, however fast the function; and a node has
to check a key in microseconds. (NIST SP 800-63B, 5.1.2.2 asks for salt and stretching below 112 bits only.)
"""

from __future__ import annotations

import hmac
import re
import secrets

from penstock.core.digest import digest_of
from penstock.core.errors import Unauthenticated

# The id has no underscore, so that the text divides in one way only; the secret may have any of its alphabet.
_KEY = re.compile(r"pk_([A-Za-z0-9]{1,64})_[A-Za-z0-9_-]{43,128}")


def new_key() -> tuple[str, str, str]:
    """A new key: its text (to be shown once and kept nowhere), its id, and its digest.

    Example:
        >>> text, key_id, digest = new_key()
        >>> parse_key_id(text) == key_id, matches(text, digest)
        (True, True)
    """
    key_id = secrets.token_hex(6)
    text = f"pk_{key_id}_{secrets.token_urlsafe(32)}"
    return text, key_id, digest_of(text.encode())


def parse_key_id(text: str) -> str:
    """The id within a key's text; raises Unauthenticated if it has not the form of a key.

    Example:
        >>> parse_key_id("pk_1f2e_" + 43 * "A")
        '1f2e'
    """
    found = _KEY.fullmatch(text)
    if found is None:
        raise invalid_key()
    return found[1]


def matches(text: str, digest: str) -> bool:
    """Whether `digest` is that of the key, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(digest_of(text.encode()), digest)


def invalid_key() -> Unauthenticated:
    """The one answer to a key of a wrong form, an unknown id and a wrong secret: nobody shall learn which ids exist."""
    return Unauthenticated("invalid-key", "the key is not valid", hint="it may have been revoked; ask for a new one")
