"""Values that must not be kept, as short keyed hashes: equal values stay equal, and nobody can read them back.

Keyed (HMAC-SHA256, RFC 2104) because a plain hash of a birth date or a telephone number is found by trying them all.
The key, called salt here, stays in the home; without it the hashes mean nothing, and removing it makes them anonymous.
"""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from penstock.core.errors import InvalidInput
from penstock.core.tensors import Array

_SALT_BYTES = 32
# 128 bits: two of a thousand million values have the same hash with a chance of 1 in 10^20.
_HASH_BYTES = 16


def load_salt(path: Path) -> bytes:
    """The home's salt; it is made, for its owner alone, when there is none. Safe among processes.

    Raises InvalidInput (`damaged-salt`) for a file of another length, OSError where it cannot be read or made.
    """
    try:
        salt = path.read_bytes()
    except FileNotFoundError:
        _create(path)
        salt = path.read_bytes()
    if len(salt) != _SALT_BYTES:
        # A new one in its place would silently make the values of yesterday and today different.
        raise InvalidInput(
            "damaged-salt",
            f"{path} has {len(salt)} bytes and not {_SALT_BYTES}",
            hint="restore it from a backup; removed, a new one is made, and earlier hashes match nothing any more",
        )
    return salt


def _create(path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, not a rename: of two processes that both found none, the second must not replace the first's.
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def hash_value(data: bytes, salt: bytes) -> str:
    """The hash of a value: 32 hex digits.

    Example:
        >>> hash_value(b"1970-01-01", salt=32 * b"s")
        '4b0a87c6e0dc6bf9521b286d29d86dfc'
    """
    return hmac.digest(salt, data, "sha256")[:_HASH_BYTES].hex()


def hashed(values: Array, salt: bytes) -> Array:
    """Every element's hash, in an array of `str` of the same shape; a missing value (None) stays None.

    Text is hashed as UTF-8 and bytes as they are, so both give the same hash; numbers as Python writes them, so that
    the hash of a whole number does not depend on the width of its dtype.
    """
    # A column often has few different values, and a look-up costs a tenth of a hash.
    known: dict[Any, str | None] = {None: None}
    flat = values.reshape(-1).tolist()
    for value in flat:
        if value not in known:
            known[value] = hash_value(_bytes_of(value), salt)
    out = np.empty(len(flat), object)
    out[:] = [known[value] for value in flat]
    return out.reshape(values.shape)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        # Equal numbers, equal hashes: -0.0 is 0.0.
        value += 0.0
    return (value if isinstance(value, str) else repr(value)).encode(errors="surrogatepass")
