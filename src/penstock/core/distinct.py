"""Refusing JSON in which an object has a key twice.

JSON leaves the meaning of `{"a": 1, "a": 2}` open and every parser picks one, silently.
"""

from __future__ import annotations

import json
from typing import Any

from penstock.core.errors import InvalidInput


def refuse_duplicate_keys(text: bytes, code: str, where: str = "") -> None:
    """Raise InvalidInput(code) if an object in the JSON `text` has a key twice, or the text cannot be read.

    Example:
        >>> refuse_duplicate_keys(b'{"a": {"b": 1}, "b": 2}', "duplicate-key")
        >>> refuse_duplicate_keys(b'{"a": 1, "a": 2}', "duplicate-key")
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: the key 'a' stands twice in one object [duplicate-key]
    """

    def distinct(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidInput(code, f"{where}the key {key[:60]!r} stands twice in one object")
            seen.add(key)

    try:
        json.loads(text, object_pairs_hook=distinct)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("invalid-json", f"{where}the text is not JSON this server can read: {error}") from None
