"""API keys: made, listed, rotated, ended. What is kept of one is its digest; its text is told once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from penstock.control.records import KeyRecord, NewKey
from penstock.control.routing import keys_changed
from penstock.control.schema import api_keys
from penstock.control.store import Store
from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput, NotFound, Refused, Unauthenticated, Unavailable
from penstock.core.names import check_name
from penstock.registry.audit import Change
from penstock.registry.texts import check_text
from penstock.security.identity import Identity, Role
from penstock.security.keys import invalid_key, matches, new_key, parse_key_id
from penstock.security.permissions import allow

LONGEST_S = 100 * 366 * 86_400
FIRST = Identity(subject="penstock up", role="admin")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key shall be good for. `expires_in_s` None is for ever, `endpoints` None all of them."""

    subject: str
    role: str
    endpoints: tuple[str, ...] | None = None
    expires_in_s: float | None = None
    rate_per_s: float | None = None


def create(store: Store, identity: Identity, wish: Wish, reason: str) -> NewKey:
    """A new key; raises Forbidden, or InvalidInput (`invalid-key-wish`) for what no key can be."""
    allow(identity, "manage-keys")
    _check(wish)
    with store.change(identity, reason) as change:
        return _insert(store, change, wish)


def read_all(store: Store, identity: Identity) -> list[KeyRecord]:
    """Every key, the newest first; raises Forbidden."""
    allow(identity, "manage-keys")
    with store.database.read() as connection:
        rows = connection.execute(select(api_keys).order_by(api_keys.c.created_at.desc(), api_keys.c.id))
        return [_record(row, store.clock()) for row in rows]


def count_valid(connection: Connection, now: float) -> int:
    """How many keys are good for something."""
    return sum(_record(row, now).state == "valid" for row in connection.execute(select(api_keys)))


def revoke(store: Store, identity: Identity, key_id: str, reason: str) -> KeyRecord:
    """End a key now; revoking it twice changes nothing. Raises Refused (`last-admin-key`), NotFound, Forbidden."""
    allow(identity, "manage-keys")
    with store.change(identity, reason) as change:
        row = _find(change.connection, key_id)
        if row.revoked_at is None:
            _keep_an_admin(store, change.connection, row)
            _end(store, change, row, revoked_at=store.clock())
        return _record(_find(change.connection, key_id), store.clock())


def rotate(store: Store, identity: Identity, key_id: str, grace_s: float, reason: str) -> NewKey:
    """A key with the same grants and its own time; the old one ends after the grace. Raises what `create` raises."""
    allow(identity, "manage-keys")
    if not 0 <= grace_s <= LONGEST_S:
        raise InvalidInput("invalid-key-wish", f"a grace of {grace_s} s", hint="give seconds, 0 or more")
    with store.change(identity, reason) as change:
        row, now = _find(change.connection, key_id), store.clock()
        old = _record(row, now)
        if old.state != "valid":
            raise Refused("key-ended", f"the key {key_id} is {old.state}", hint="penstock keys create")
        wish = Wish(subject=old.subject, role=old.role, endpoints=old.endpoints, rate_per_s=old.rate_per_s)
        made = _insert(store, change, wish, expires_at=old.expires_at)
        end = now + grace_s if old.expires_at is None else min(now + grace_s, old.expires_at)
        _end(store, change, row, expires_at=end)
        return made


def identify(store: Store, text: str) -> Identity:
    """Who holds this key; raises Unauthenticated (`invalid-key`, `expired-key`)."""
    key_id = parse_key_id(text)
    with store.database.read() as connection:
        row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    if row is None or not matches(text, row.digest):
        raise invalid_key()
    found = _record(row, store.clock())
    if found.state == "expired":
        raise Unauthenticated("expired-key", f"the key {key_id} has expired", hint="ask for a new one")
    if found.state == "revoked":
        raise invalid_key()
    return Identity(subject=found.subject, role=_role(found.role), endpoints=found.endpoints, key_id=found.id)


def ensure_admin(store: Store) -> Path | None:
    """The first key, in a file that only its owner reads; None where there is a key already.

    The file is written before the key counts: a key that nobody was told would lock everybody out.
    """
    with store.change(FIRST, "the first start") as change:
        if change.connection.execute(select(func.count()).select_from(api_keys)).scalar_one():
            return None
        path = store.home / "admin.key"
        made = _insert(store, change, Wish(subject="admin", role="admin"))
        _write_private(path, made.text + "\n")
        return path


def _write_private(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, text.encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        partial.replace(path)
    except OSError as error:
        raise Unavailable(
            "cannot-write", f"{path} cannot be written: {error.strerror}", hint="give a home that can: --home FOLDER"
        ) from error


def _check(wish: Wish) -> None:
    if not check_text(wish.subject, "subject", 256).strip():
        raise InvalidInput("invalid-key-wish", "a key needs a subject: who holds it")
    _role(wish.role)
    for endpoint in wish.endpoints or ():
        check_name(endpoint, "endpoint")
    if wish.endpoints is not None and not wish.endpoints:
        raise InvalidInput("invalid-key-wish", "a key for no endpoint", hint="name one, or leave it out for all")
    for name, number in (("expires_in_s", wish.expires_in_s), ("rate_per_s", wish.rate_per_s)):
        if number is not None and not 0 < number <= LONGEST_S:
            raise InvalidInput("invalid-key-wish", f"{name} is {number}", hint="give a number above 0, or leave it out")


def _role(text: str) -> Role:
    if text not in get_args(Role):
        raise InvalidInput("invalid-key-wish", f"{text[:40]!r} is no role", hint=f"one of {', '.join(get_args(Role))}")
    return text  # type: ignore[return-value]  # it is one of them


def _insert(store: Store, change: Change, wish: Wish, expires_at: float | None = None) -> NewKey:
    text, key_id, digest = new_key()
    if wish.expires_in_s is not None:
        expires_at = store.clock() + wish.expires_in_s
    row = {
        "id": key_id,
        "digest": digest,
        "subject": wish.subject,
        "role": wish.role,
        "endpoints": canonical_json(wish.endpoints).decode(),
        "rate_per_s": wish.rate_per_s,
        "created_at": change.time,
        "created_by": change.actor,
        "expires_at": expires_at,
        "revoked_at": None,
    }
    change.connection.execute(insert(api_keys).values(row))
    change.record(
        "key.created",
        f"key:{key_id}",
        None,
        {name: row[name] for name in ("digest", "subject", "role", "endpoints", "rate_per_s", "expires_at")},
    )
    keys_changed(change, store)
    return NewKey(text=text, key=_record(_find(change.connection, key_id), store.clock()))


def _end(store: Store, change: Change, row: Row[Any], **columns: float) -> None:
    change.connection.execute(update(api_keys).where(api_keys.c.id == row.id).values(**columns))
    change.record("key.ended", f"key:{row.id}", {name: row._mapping[name] for name in columns}, columns)
    keys_changed(change, store)


def _find(connection: Connection, key_id: str) -> Row[Any]:
    row = connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound("unknown-key", f"there is no key {key_id[:80]!r}", hint="penstock keys list")
    return row


def _keep_an_admin(store: Store, connection: Connection, doomed: Row[Any]) -> None:
    if doomed.role != "admin":
        return
    others = connection.execute(select(api_keys).where(api_keys.c.role == "admin", api_keys.c.id != doomed.id))
    if not any(_record(row, store.clock()).state == "valid" for row in others):
        raise Refused(
            "last-admin-key",
            f"{doomed.id} is the last key that may manage keys",
            hint="create another admin key first: penstock keys create NAME --role admin",
        )


def _record(row: Row[Any], now: float) -> KeyRecord:
    found = {name: row._mapping[name] for name in KeyRecord.__struct_fields__ if name != "state"}
    found["endpoints"] = msgspec.json.decode(row.endpoints, type=tuple[str, ...] | None)
    ended = row.expires_at is not None and row.expires_at <= now
    return KeyRecord(**found, state="revoked" if row.revoked_at is not None else "expired" if ended else "valid")
