"""Answers kept for a day under a key of the caller's: what is sent again is answered again, not done again."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select

from penstock.control.schema import idempotency
from penstock.control.store import Store
from penstock.core.digest import canonical_json
from penstock.core.errors import Conflict
from penstock.registry.texts import MAX_KEY, check_text
from penstock.security.identity import Identity

KEPT_S = 86_400


def remembered(store: Store, identity: Identity, key: str, request_digest: str) -> Any | None:
    """The answer that was kept, None where there is none; raises Conflict (`idempotency-key-reused`)."""
    check_text(key, "idempotency key", MAX_KEY)
    with store.database.read() as connection:
        return _find(connection, identity, key, request_digest, store.clock())


def remember(store: Store, identity: Identity, key: str, request_digest: str, response: Any) -> Any:
    """Keep an answer. Of two requests that ran at once, both give the one that was kept first."""
    check_text(key, "idempotency key", MAX_KEY)
    now = store.clock()
    with store.change(identity) as change:
        connection = change.connection
        connection.execute(delete(idempotency).where(idempotency.c.created_at < now - KEPT_S))
        kept = _find(connection, identity, key, request_digest, now)
        if kept is not None:
            return kept
        connection.execute(
            insert(idempotency).values(
                subject=identity.subject,
                key=key,
                request=request_digest,
                response=canonical_json(response).decode(),
                created_at=now,
            )
        )
    return response


def _find(connection: Connection, identity: Identity, key: str, request_digest: str, now: float) -> Any | None:
    query = select(idempotency).where(idempotency.c.subject == identity.subject, idempotency.c.key == key)
    row = connection.execute(query).one_or_none()
    if row is None or row.created_at < now - KEPT_S:
        return None
    if row.request != request_digest:
        raise Conflict(
            "idempotency-key-reused", f"the key {key!r} was used for another request", hint="use a new key for each"
        )
    return msgspec.json.decode(row.response)
