"""Finding a key that stands twice in one JSON object.

JSON leaves the meaning of `{"a": 1, "a": 2}` open and every parser picks one, silently: the wrong row gets answered.
Each key has one colon, so when the number of colons in the bytes is the number of keys that were decoded, none was
dropped. Only otherwise (a colon inside a string, an unknown key, or a real duplicate) is the slow exact check made.
"""

from __future__ import annotations

from typing import Any

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


def keys_of(value: Any) -> int:
    """How many keys all objects in a JSON value have together."""
    count, level = 0, [value]
    while level:
        found: list[Any] = []
        for item in level:
            if type(item) is dict:
                count += len(item)
                found += item.values()
            # Numbers fill the longest lists, and hold nothing. An uneven list that is missed costs a closer look.
            elif type(item) is list and item and type(item[0]) in (list, dict):
                found += item
        level = found
    return count
