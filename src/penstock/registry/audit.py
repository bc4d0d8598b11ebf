"""The audit log: append-only, each event holding the hash of the one before. `docs/formats/audit.md` is its format."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, or_, select, update

from penstock.core.digest import PREFIX, canonical_json, digest_of
from penstock.registry.records import Event, Verification
from penstock.registry.schema import audit_events, audit_head

GENESIS = PREFIX + "0" * 64
"""What the first event names as the hash of the one before it."""


class Change:
    """One transaction that changes the registry: who does it, when and why; every change in it is recorded here.

    Making one takes the registry's only write lock, so what is read afterwards stays true until the commit.
    """

    def __init__(self, connection: Connection, *, actor: str, time: str, reason: str) -> None:
        self.connection = connection
        self.actor = actor
        self.time = time
        self.reason = reason
        # FOR UPDATE on PostgreSQL; on SQLite the transaction holds the lock already.
        connection.execute(select(audit_head.c.id).with_for_update()).one()

    def record(self, action: str, subject: str, before: Any, after: Any) -> None:
        """Append one event to the log."""
        head = self.connection.execute(select(audit_head.c.seq, audit_head.c.hash)).one()
        content = {
            "seq": head.seq + 1,
            "time": self.time,
            "actor": self.actor,
            "action": action,
            "subject": subject,
            "before": before,
            "after": after,
            "reason": self.reason,
            "previous": head.hash,
        }
        row = {
            **content,
            "before": canonical_json(before).decode(),
            "after": canonical_json(after).decode(),
            "hash": hash_of(content),
        }
        self.connection.execute(insert(audit_events).values(row))
        self.connection.execute(update(audit_head).values(seq=row["seq"], hash=row["hash"]))


def hash_of(content: dict[str, Any]) -> str:
    """The hash of an event: the digest of the canonical JSON of all its fields but the hash.

    Example:
        >>> hash_of({"seq": 1, "previous": GENESIS})[:19]
        'sha256:1c908630ede1'
    """
    return digest_of(canonical_json(content))


def read_events(connection: Connection, *, after: int = 0, limit: int | None = None, model: str = "") -> list[Event]:
    """Events in their order, those with a greater number than `after`, all or those about one model."""
    query = select(audit_events).where(audit_events.c.seq > after).order_by(audit_events.c.seq).limit(limit)
    if model:
        # Not LIKE: it ignores case on SQLite, and _ is a letter of names and a wildcard of patterns.
        start = func.substr(audit_events.c.subject, 1, len(model) + 1)
        query = query.where(or_(audit_events.c.subject == model, start == model + "/", start == model + "@"))
    return [_event(row) for row in connection.execute(query)]


def _event(row: Row[Any]) -> Event:
    decoded = {"before": msgspec.json.decode(row.before), "after": msgspec.json.decode(row.after)}
    return Event(**{**row._mapping, **decoded})


def verify(connection: Connection, expected: str = "") -> Verification:
    """Walk the whole chain and report the first broken event.

    `expected` is the hash of an event noted down earlier, outside the database: with it, a log that was rewritten
    from end to end is found, too.
    """
    seq, previous, seen = 0, GENESIS, not expected
    query = select(audit_events).order_by(audit_events.c.seq).execution_options(yield_per=1000)
    with connection.execute(query) as rows:
        for row in rows:
            problem = _problem(row, seq + 1, previous)
            if problem:
                return Verification(events=seq, head=previous, broken_at=seq + 1, problem=problem)
            seq, previous = row.seq, row.hash
            seen = seen or row.hash == expected
    head = connection.execute(select(audit_head.c.seq, audit_head.c.hash)).one_or_none()
    problem = ""
    if head is None or (head.seq, head.hash) != (seq, previous):
        problem = f"the log ends at event {seq}, but the last one written was {head.seq if head else 'unknown'}"
    elif not seen:
        problem = f"no event has the hash {expected}"
    return Verification(events=seq, head=previous, broken_at=seq + 1 if problem else None, problem=problem)


def _problem(row: Row[Any], seq: int, previous: str) -> str:
    if row.seq != seq:
        return f"event {seq} is missing; the next one there is {row.seq}"
    if row.previous != previous:
        return "it does not name the hash of the event before it"
    content = {key: value for key, value in row._mapping.items() if key != "hash"}
    for key in ("before", "after"):
        try:
            content[key] = msgspec.json.decode(content[key])
        except msgspec.DecodeError:
            return f"its {key!r} is not JSON"
        if canonical_json(content[key]).decode() != row._mapping[key]:
            return f"its {key!r} is not in canonical form"
    return "" if hash_of(content) == row.hash else "its content does not have its hash"
