"""Held-out rows and checks that gates use and that came from another machine: kept by their digest, never replaced.

Checks are code, and whoever may run gates may bring some: a bundle, which the same role may register, is code as well.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from penstock.control.store import Store
from penstock.core.digest import digest_of_file
from penstock.core.errors import InvalidInput, TooLarge
from penstock.core.names import check_name
from penstock.security.identity import Identity
from penstock.security.permissions import allow
from penstock.storage.disk import disk_errors

MOST_BYTES = 2**30
_PREFIX = "sha256:"


def name_of(digest: str, name: str) -> str:
    """What a spec calls an uploaded file: its path below `gates` in control's home.

    Example:
        >>> name_of("sha256:" + "0" * 64, "rows.csv")[:24]
        'uploads/0000000000000000'
    """
    return f"uploads/{digest.removeprefix(_PREFIX)}/{check_name(name, 'file')}"


def has(store: Store, digest: str, name: str) -> bool:
    """Whether the file is here already."""
    return _path(store, digest, name).is_file()


def keep(store: Store, identity: Identity, file: Path, digest: str, name: str) -> None:
    """Keep a copy of `file`; raises Forbidden, InvalidInput (`wrong-digest`), TooLarge, Unavailable (`disk-full`)."""
    allow(identity, "check")
    target = _path(store, digest, name)
    if file.stat().st_size > MOST_BYTES:
        raise TooLarge("body-too-large", f"a file for gates has at most {MOST_BYTES} bytes")
    if digest_of_file(file) != digest:
        raise InvalidInput("wrong-digest", f"{name} does not have the digest {digest}", hint="send it again")
    if target.is_file():
        return
    with disk_errors(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
        shutil.copyfile(file, partial)
        partial.replace(target)
    with store.change(identity) as change:
        change.record("gate-file.kept", digest, None, {"name": name})


def _path(store: Store, digest: str, name: str) -> Path:
    figures = digest.removeprefix(_PREFIX)
    if len(figures) != 64 or not set(figures) <= set("0123456789abcdef"):
        raise InvalidInput("invalid-digest", f"{digest[:80]!r} is not sha256: and 64 hex digits")
    return store.home / "gates" / name_of(digest, name)
