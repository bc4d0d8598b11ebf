"""Operations in the database: what takes a while, told step by step, so that whoever looks sees how far it is.

A step is written when it is done. Whoever continues an operation begins where the last step ended; that two do so at
once costs time and changes nothing, because only one of them can end it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from penstock.control.records import Failure, Operation, State, Step
from penstock.control.schema import operations
from penstock.control.store import Store
from penstock.core.digest import canonical_json, digest_of
from penstock.core.errors import NotFound, PenstockError
from penstock.registry.audit import Change

Tell = Callable[[Operation], None]
"""Hears of an operation after every step."""


def silent(operation: Operation) -> None:
    """Nobody listens."""


def create(change: Change, kind: Literal["apply", "check"], request: Any) -> int:
    """A pending operation; returns its id."""
    text = canonical_json(request).decode()
    number: int = change.connection.execute(select(func.coalesce(func.max(operations.c.id), 0) + 1)).scalar_one()
    change.connection.execute(
        insert(operations).values(
            id=number,
            kind=kind,
            state="pending",
            request=text,
            progress="[]",
            error="null",
            created_at=change.time,
            created_by=change.actor,
            updated_at=change.time,
            reason=change.reason,
        )
    )
    told = {"kind": kind, "request": digest_of(text.encode())}
    change.record("operation.requested", f"operation:{number}", None, told)
    return number


def read(store: Store, number: int) -> Operation:
    """One operation; raises NotFound (`unknown-operation`)."""
    with store.database.read() as connection:
        return read_in(connection, number)[0]


def read_in(connection: Connection, number: int) -> tuple[Operation, msgspec.Raw]:
    """One operation and what it was asked to do, as JSON."""
    row = connection.execute(select(operations).where(operations.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("unknown-operation", f"there is no operation {number}", hint="penstock status")
    return _operation(row), msgspec.Raw(row.request.encode())


def read_page(store: Store, before: int | None, limit: int) -> list[Operation]:
    """Operations with a smaller id than `before`, the newest first."""
    query = select(operations).order_by(operations.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(operations.c.id < before)
    with store.database.read() as connection:
        return [_operation(row) for row in connection.execute(query)]


def read_unfinished(store: Store) -> list[Operation]:
    """Those that somebody must continue, the oldest first."""
    query = select(operations).where(operations.c.state.in_(("pending", "running"))).order_by(operations.c.id)
    with store.database.read() as connection:
        return [_operation(row) for row in connection.execute(query)]


def note(store: Store, number: int, text: str) -> Operation:
    """Write down a step of a running operation; what has ended stays as it is."""
    with store.database.write() as connection:
        row = connection.execute(select(operations).where(operations.c.id == number).with_for_update()).one()
        if row.state not in ("pending", "running"):
            return _operation(row)
        _set(connection, row, store.now, "running", text)
        return read_in(connection, number)[0]


def move(change: Change, number: int, state: State, text: str, **columns: Any) -> None:
    """Bring an operation into another state, with a step that says why."""
    row = change.connection.execute(select(operations).where(operations.c.id == number)).one()
    _set(change.connection, row, change.time, state, text, **columns)


def fail(change: Change, number: int, error: PenstockError) -> None:
    """End an operation with the reason."""
    failure = Failure(error.kind, error.code, error.message, error.hint)
    move(change, number, "failed", error.message, error=canonical_json(failure).decode())
    change.record("operation.failed", f"operation:{number}", None, {"code": error.code, "message": error.message})


def _set(connection: Connection, row: Row[Any], now: str, state: State, text: str, **columns: Any) -> None:
    steps = msgspec.json.decode(row.progress, type=tuple[Step, ...])
    # A step that is repeated after a crash is one step.
    if not steps or steps[-1].text != text:
        steps = (*steps, Step(now, text))
    columns |= {"state": state, "progress": canonical_json(steps).decode(), "updated_at": now}
    connection.execute(update(operations).where(operations.c.id == row.id).values(**columns))


def _operation(row: Row[Any]) -> Operation:
    found = {name: row._mapping[name] for name in Operation.__struct_fields__}
    found["progress"] = msgspec.json.decode(row.progress, type=tuple[Step, ...])
    found["error"] = msgspec.json.decode(row.error, type=Failure | None)
    return Operation(**found)
