"""The audit log against control's tables: what is served, whose keys count and who agreed is what the log tells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, select

from penstock.control.schema import api_keys, approvals, gate_reports, generations, releases
from penstock.core.digest import canonical_json, digest_of
from penstock.registry import audit
from penstock.registry import replay as registry_replay
from penstock.registry.records import Event, Verification
from penstock.storage.database import Database

Facts = dict[tuple[str, str], Any]
"""(what, which) to what the log or a table says of it."""


def verify_audit(database: Database, expected: str = "") -> Verification:
    """Walk the log's chain, then hold it against the registry's tables and control's.

    With `expected`, the hash of an event noted down earlier, one of the events must have it.
    """
    with database.read() as connection:
        walked = audit.verify(connection, expected)
        if not walked.whole:
            return walked
        unrecorded = registry_replay.find_unrecorded(connection) or find_unrecorded(connection)
        return msgspec.structs.replace(walked, unrecorded=unrecorded)


def find_unrecorded(connection: Connection) -> str:
    """The first difference between control's tables and the log, in words; empty when there is none."""
    told, stored = _told(audit.read_events(connection)), _stored(connection)
    # A report whose gates were run again is replaced: the log tells of more of them than are kept.
    told = {key: fact for key, fact in told.items() if key[0] != "gate report" or key in stored}
    for key in sorted(told.keys() | stored.keys()):
        if told.get(key) != stored.get(key):
            what, which = key
            return f"{what} {which} is {stored.get(key)}, but the log says {told.get(key)}"
    return ""


def _told(events: list[Event]) -> Facts:
    found: Facts = {}
    for event in events:
        _, _, which = event.subject.partition(":")
        after = event.after or {}
        match event.action:
            case "endpoint.released":
                found["released endpoint", which] = found["served endpoint", which] = after.get("endpoint")
            case "spec.applied":
                found["spec of generation", which] = after["spec"]
                found["newest", "spec"] = after["spec"]
            case "generation.raised":
                found["spec of generation", which] = found.get(("newest", "spec"))
            case "key.created":
                found["key", which] = {**after, "revoked_at": None}
            case "key.ended":
                found["key", which] = {**found.get(("key", which), {}), **after}
            case "approval.requested":
                found["approval", which] = "pending"
            case "approval.approved" | "approval.refused":
                found["approval", which] = after["state"]
            case "gates.judged":
                found["gate report", f"{event.subject} for {after['endpoint']}: {after['report']}"] = after["verdict"]
    found.pop(("newest", "spec"), None)
    return found


def _stored(connection: Connection) -> Facts:
    found: Facts = {}
    for row in connection.execute(select(releases).order_by(releases.c.generation)):
        # An endpoint that was taken away is served no more.
        gone = row.content == "null"
        found["released endpoint", row.endpoint] = None if gone else digest_of(row.content.encode())
        found["served endpoint", row.endpoint] = None
    newest: dict[str, Any] = {}
    for row in connection.execute(select(generations).order_by(generations.c.generation)):
        found["spec of generation", str(row.generation)] = digest_of(row.spec.encode())
        newest = msgspec.json.decode(row.endpoints)
    found |= {("served endpoint", name): digest_of(canonical_json(one)) for name, one in newest.items()}
    for row in connection.execute(select(api_keys)):
        names = ("digest", "subject", "role", "endpoints", "rate_per_s", "expires_at", "revoked_at")
        found["key", row.id] = {name: row._mapping[name] for name in names}
    for row in connection.execute(select(approvals)):
        found["approval", str(row.id)] = row.state
    return found | dict(_reports(connection))


def _reports(connection: Connection) -> Iterator[tuple[tuple[str, str], Any]]:
    for row in connection.execute(select(gate_reports)):
        which = f"{row.model}/{row.number} for {row.endpoint}: {digest_of(row.report.encode())}"
        yield ("gate report", which), row.verdict
