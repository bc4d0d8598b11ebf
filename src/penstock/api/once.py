"""Idempotency keys: a repeated request is answered as the first one was, and nothing is done again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from penstock.control.control import Control
from penstock.security.identity import Identity

Value = TypeVar("Value")


def once(
    control: Control, identity: Identity, key: str | None, digest: str, make: Callable[[], Value], kind: type[Value]
) -> Value:
    """What `make` gives, or gave when this key first came.

    Raises Conflict (`idempotency-conflict`) when the key came with another request. Two first requests at one moment
    are both made: what they do must hold that by itself, as a compare-and-set does.
    """
    if not key:
        return make()
    kept = control.remembered(identity, key, digest)
    if kept is None:
        kept = control.remember(identity, key, digest, msgspec.to_builtins(make()))
    return msgspec.convert(kept, kind)
