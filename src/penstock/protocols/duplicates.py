"""Finding a key that stands twice in one JSON object.

JSON leaves the meaning of `{"a": 1, "a": 2}` open and every parser picks one, silently: the wrong row gets answered.
Each key has one colon, so when the number of colons in the bytes is the number of keys that were decoded, none was
dropped. Only otherwise (a colon inside a string, an unknown key, or a real duplicate) is the slow exact check made.
"""

from __future__ import annotations

from penstock.core.distinct import refuse_duplicate_keys


def refuse_duplicates(body: bytes, keys: int) -> None:
    """Raise InvalidInput if an object in the JSON text `body` has a key twice; `keys` is how many were decoded.

    Example:
        >>> refuse_duplicates(b'{"a": 1}', 1)
        >>> refuse_duplicates(b'{"a": 1, "a": 2}', 1)
        Traceback (most recent call last):
        penstock.core.errors.InvalidInput: the key 'a' stands twice in one object [duplicate-key]
    """
    if body.count(b":") == keys:
        return
    refuse_duplicate_keys(body, "duplicate-key")
