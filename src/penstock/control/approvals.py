"""What waits for somebody to decide: an apply whose gates were inconclusive, or the move of a protected alias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from penstock.control import operations
from penstock.control.records import Approval
from penstock.control.schema import approvals
from penstock.control.store import Store
from penstock.core.digest import canonical_json, digest_of
from penstock.core.errors import Conflict, NotFound, Refused
from penstock.registry import aliases
from penstock.registry.audit import Change
from penstock.security.approvals import ApprovalRequest, check_approval
from penstock.security.identity import Identity
from penstock.security.permissions import allow

Decision = Literal["approved", "refused"]


def request(
    change: Change,
    *,
    kind: Literal["apply", "alias"],
    subject: str,
    wanted: Any,
    because: Sequence[str],
    four_eyes: bool,
    requester: str,
    operation: int | None = None,
) -> int:
    """Ask for a decision; the same thing asked twice by one person is one approval. Returns its id."""
    text = canonical_json(wanted).decode()
    same = select(approvals.c.id).where(
        approvals.c.state == "pending",
        approvals.c.kind == kind,
        approvals.c.request == text,
        approvals.c.requested_by == requester,
    )
    if operation is None and (known := change.connection.execute(same).scalar()) is not None:
        return int(known)
    number: int = change.connection.execute(select(func.coalesce(func.max(approvals.c.id), 0) + 1)).scalar_one()
    row = {
        "id": number,
        "kind": kind,
        "subject": subject,
        "request": text,
        "because": canonical_json(tuple(because)).decode(),
        "state": "pending",
        "four_eyes": four_eyes,
        "operation": operation,
        "requested_at": change.time,
        "requested_by": requester,
        "decided_at": "",
        "decided_by": "",
        "reason": change.reason,
    }
    change.connection.execute(insert(approvals).values(row))
    # The request's digest: whoever approves agrees to this, and not to what somebody writes into the row afterwards.
    told = {"of": subject, "because": list(because), "request": digest_of(text.encode()), "four_eyes": four_eyes}
    change.record("approval.requested", f"approval:{number}", None, {**told, "kind": kind, "operation": operation})
    return number


def read(store: Store, number: int) -> Approval:
    """One approval; raises NotFound (`unknown-approval`)."""
    with store.database.read() as connection:
        return read_in(connection, number)


def read_all(store: Store, state: str) -> list[Approval]:
    """All of them, or those in one state, the newest first."""
    query = select(approvals).order_by(approvals.c.id.desc())
    if state:
        query = query.where(approvals.c.state == state)
    with store.database.read() as connection:
        return [_approval(row) for row in connection.execute(query)]


def read_in(connection: Connection, number: int) -> Approval:
    """One approval, as this transaction sees it."""
    row = connection.execute(select(approvals).where(approvals.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("unknown-approval", f"there is no approval {number}", hint="penstock status")
    return _approval(row)


def decide(store: Store, identity: Identity, number: int, decision: Decision, reason: str) -> Approval:
    """Write the decision down and do what follows from it, in one transaction.

    Raises Forbidden, NotFound, Conflict (`already-decided`, or `alias-moved` where the alias moved meanwhile).
    """
    with store.change(identity, reason) as change:
        found = read_in(change.connection, number)
        _check(found, identity, decision)
        change.connection.execute(
            update(approvals)
            .where(approvals.c.id == number)
            .values(state=decision, decided_at=change.time, decided_by=change.actor, reason=reason)
        )
        change.record(f"approval.{decision}", f"approval:{number}", {"state": "pending"}, {"state": decision})
        if found.operation is not None:
            _resume(change, found.operation, number, decision, identity)
        elif decision == "approved":
            moved = found.request
            aliases.set_alias(
                change, moved["model"], moved["alias"], moved["number"], moved["before"] or "absent", approved=True
            )
        return read_in(change.connection, number)


def _check(found: Approval, identity: Identity, decision: Decision) -> None:
    if found.state != "pending":
        raise Conflict(
            "already-decided",
            f"approval {found.id} was {found.state} by {found.decided_by}",
            hint="apply again to ask again",
        )
    if decision == "refused" and identity.subject == found.requested_by:
        # Whoever asked may always take it back.
        return
    requester = Identity(subject=found.requested_by, role="viewer")
    for endpoint in found.request.get("endpoints") or [""]:
        if found.four_eyes and decision == "approved":
            check_approval(ApprovalRequest(alias=found.subject, requester=requester, endpoint=endpoint), identity)
        else:
            allow(identity, "override", endpoint)


def _resume(change: Change, operation: int, number: int, decision: Decision, identity: Identity) -> None:
    if operations.read_in(change.connection, operation)[0].state != "waiting-approval":
        return
    if decision == "approved":
        operations.move(change, operation, "pending", f"approved by {identity.subject}")
        return
    refusal = Refused("not-approved", f"{identity.subject} refused approval {number}: {change.reason or 'no reason'}")
    operations.fail(change, operation, refusal)


def _approval(row: Row[Any]) -> Approval:
    found = {name: row._mapping[name] for name in Approval.__struct_fields__}
    found["request"] = msgspec.json.decode(row.request)
    found["because"] = msgspec.json.decode(row.because, type=tuple[str, ...])
    return Approval(**found)
