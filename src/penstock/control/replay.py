"""The audit log against control's tables: what is served, whose keys count and who agreed is what the log tells."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from penstock.control.rollout_rows import DIGESTED
from penstock.control.schema import api_keys, approvals, gate_reports, generations, operations, releases, rollouts
from penstock.core.digest import digest_of
from penstock.registry import audit
from penstock.registry import replay as registry_replay
from penstock.registry.records import Event, Verification
from penstock.registry.schema import protected_aliases
from penstock.storage.database import Database

Told = dict[str, Any]
Facts = dict[tuple[str, str], dict[str, Any]]
"""(what, which) to the fields that the log or a table gives it."""


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
    told, stored = _Told(), _stored(connection)
    for event in audit.read_events(connection):
        told.hear(event)
    for key in sorted(told.facts.keys() | stored.keys()):
        log, table = told.facts.get(key), stored.get(key)
        if log is None and table is not None and key[0] == "gate report":
            log = told.reports.get((key[1].partition(" by ")[0], table["report"]))
        if log is not None and table is not None:
            # What an older Penstock wrote tells fewer fields.
            table = {name: table[name] for name in log}
        if log != table:
            return f"{' '.join(key)} is {table}, but the log says {log}"
    return _find_unprotected(connection)


class _Told:
    """What the log tells, event by event."""

    def __init__(self) -> None:
        self.facts: Facts = {}
        self.reports: Facts = {}
        self._released: dict[str, str | None] = {}
        self._moved: dict[str, str | None] = {}
        self._served: dict[str, str] = {}
        self._spec: dict[str, Any] = {}

    def hear(self, event: Event) -> None:
        """Take the next event."""
        area = event.action.partition(".")[0]
        _, _, which = event.subject.partition(":")
        hearing = {
            "endpoint": self._endpoint,
            "spec": self._applied,
            "generation": self._raised,
            "rollout": self._rollout,
            "key": self._key,
            "operation": self._operation,
            "approval": self._approval,
            "gates": self._gates,
        }.get(area)
        if hearing is not None:
            hearing(event, which, event.after or {}, {"created_at": event.time, "created_by": event.actor})

    def _endpoint(self, event: Event, which: str, after: Told, made: Told) -> None:
        told = self._released if event.action == "endpoint.released" else self._moved
        told[which] = after.get("endpoint")

    def _applied(self, event: Event, which: str, after: Told, made: Told) -> None:
        self._spec = {"spec": after["spec"], "spec_generation": int(which)}
        self._generation(which, {**made, "reason": event.reason})

    def _raised(self, event: Event, which: str, after: Told, made: Told) -> None:
        self._generation(which, {**made, "reason": event.reason})

    def _rollout(self, event: Event, which: str, after: Told, made: Told) -> None:
        if event.action == "rollout.begun":
            self.facts["rollout", which] = {**after, **made, "reason": event.reason}
        else:
            self.facts["rollout", which] |= {name: after[name] for name in after if name != "because"}

    def _key(self, event: Event, which: str, after: Told, made: Told) -> None:
        if event.action == "key.created":
            self.facts["key", which] = {**after, **made, "revoked_at": None}
        else:
            self.facts["key", which] |= after

    def _operation(self, event: Event, which: str, after: Told, made: Told) -> None:
        if event.action == "operation.requested":
            self.facts["operation", which] = {**after, **made, "reason": event.reason, "error": None}
        else:
            self.facts["operation", which]["error"] = after["code"]

    def _approval(self, event: Event, which: str, after: Told, made: Told) -> None:
        if event.action == "approval.requested":
            asked = {"state": "pending", "requested_at": event.time, "requested_by": event.actor}
            self.facts["approval", which] = {**after, **asked, "decided_by": "", "reason": event.reason}
        else:
            decided = {"decided_at": event.time, "decided_by": event.actor, "reason": event.reason}
            self.facts["approval", which] |= after | decided

    def _gates(self, event: Event, which: str, after: Told, made: Told) -> None:
        found = {"verdict": after["verdict"], "report": after["report"], **made}
        version = f"{event.subject} for {after['endpoint']}"
        if "plan" in after:
            self.facts["gate report", f"{version} by {after['plan']}"] = found
        else:
            # An older Penstock did not say which gates: its reports are known by what they say.
            self.reports[version, after["report"]] = found

    def _generation(self, number: str, made: dict[str, Any]) -> None:
        for name, endpoint in self._released.items():
            self.facts["release", f"of {name} in generation {number}"] = {"endpoint": endpoint}
        for name, endpoint in (self._released | self._moved).items():
            self._served.pop(name, None)
            if endpoint is not None:
                self._served[name] = endpoint
        self._released, self._moved = {}, {}
        self.facts["generation", number] = {**self._spec, **made, "endpoints": dict(self._served)}


def _stored(connection: Connection) -> Facts:
    facts: Facts = {}
    for row in connection.execute(select(generations)):
        # As they are stored, which is their canonical form: another form of the same is a change, too.
        served = msgspec.json.decode(row.endpoints, type=dict[str, msgspec.Raw])
        endpoints = {name: digest_of(bytes(endpoint)) for name, endpoint in served.items()}
        facts["generation", str(row.generation)] = _fields(row, spec=digest_of(row.spec.encode()), endpoints=endpoints)
    for row in connection.execute(select(releases)):
        content = None if row.content == "null" else digest_of(row.content.encode())
        facts["release", f"of {row.endpoint} in generation {row.generation}"] = {"endpoint": content}
    for row in connection.execute(select(api_keys)):
        facts["key", row.id] = _fields(row)
    for row in connection.execute(select(operations)):
        error = msgspec.json.decode(row.error) or {}
        facts["operation", str(row.id)] = _fields(row, request=digest_of(row.request.encode()), error=error.get("code"))
    for row in connection.execute(select(approvals)):
        because = msgspec.json.decode(row.because)
        told_as = {"of": row.subject, "because": because, "request": digest_of(row.request.encode())}
        facts["approval", str(row.id)] = _fields(row, **told_as)
    for row in connection.execute(select(rollouts)):
        told_as = {name: digest_of(str(row._mapping[name]).encode()) for name in DIGESTED}
        facts["rollout", str(row.id)] = _fields(row, **told_as)
    for row in connection.execute(select(gate_reports)):
        key = f"{row.model}/{row.number} for {row.endpoint} by {row.plan}"
        facts["gate report", key] = _fields(row, report=digest_of(row.report.encode()))
    return facts


def _fields(row: Row[Any], **told_as: Any) -> dict[str, Any]:
    """A row's columns, and instead of some of them what the log tells of those."""
    return {**row._mapping, **told_as}


def _find_unprotected(connection: Connection) -> str:
    # The log has the spec's digest alone; what the newest spec protects is read from where that was just held to it.
    newest = select(generations.c.spec).order_by(generations.c.generation.desc()).limit(1)
    spec = msgspec.json.decode(connection.execute(newest).scalar() or "{}")
    wanted = sorted(set(spec.get("protected_aliases", ())))
    protected = sorted(connection.execute(select(protected_aliases.c.alias)).scalars())
    return "" if protected == wanted else f"protected aliases are {protected}, but the applied spec says {wanted}"
