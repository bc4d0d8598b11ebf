"""Rollouts in the database: a row each, replaced as a whole, and an event for every step with what was known then."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, insert, select, update

from penstock.control.addresses import with_addresses, without_address
from penstock.control.records import AliasMove, RolloutEvent, RolloutRecord
from penstock.control.schema import rollout_events, rollouts
from penstock.control.store import Store
from penstock.core.digest import canonical_json, digest_of
from penstock.core.errors import Conflict, NotFound
from penstock.core.routes import Endpoint
from penstock.registry.audit import Change
from penstock.rollout.judgement import Judgement
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.state import Rollout, RolloutState

# What the audit log tells of a row by its digest.
DIGESTED = ("plan", "before", "after", "moves", "state")


def next_number(connection: Connection) -> int:
    """The id that the next rollout gets."""
    found: int = connection.execute(select(func.coalesce(func.max(rollouts.c.id), 0) + 1)).scalar_one()
    return found


def read_in(connection: Connection, store: Store, number: int) -> RolloutRecord:
    """One rollout; raises NotFound (`unknown-rollout`)."""
    row = connection.execute(select(rollouts).where(rollouts.c.id == number)).one_or_none()
    if row is None:
        raise NotFound("unknown-rollout", f"there is no rollout {number}", hint="penstock rollout list")
    return _record(connection, store, row)


def read_standing(connection: Connection, store: Store) -> dict[str, RolloutRecord]:
    """By endpoint, the rollout that is why it serves something else than the spec says."""
    rows = connection.execute(select(rollouts).where(rollouts.c.standing)).all()
    return {row.endpoint: _record(connection, store, row) for row in rows}


def read_going(store: Store) -> list[RolloutRecord]:
    """Those that have not ended, the oldest first."""
    query = select(rollouts).where(rollouts.c.ended.is_(False)).order_by(rollouts.c.id)
    with store.database.read() as connection:
        return [_record(connection, store, row) for row in connection.execute(query).all()]


def read_page(store: Store, endpoint: str, before: int | None, limit: int) -> list[RolloutRecord]:
    """Those with a smaller id than `before`, the newest first; of one endpoint, where it is named."""
    query = select(rollouts).order_by(rollouts.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(rollouts.c.id < before)
    if endpoint:
        query = query.where(rollouts.c.endpoint == endpoint)
    with store.database.read() as connection:
        return [_record(connection, store, row) for row in connection.execute(query).all()]


def read_events(connection: Connection, number: int) -> list[RolloutEvent]:
    """What a rollout did, in its order."""
    query = select(rollout_events).where(rollout_events.c.rollout == number).order_by(rollout_events.c.seq)
    return [
        RolloutEvent(at=row.at, who=row.who, text=row.text, judgement=_judgement(row.judgement))
        for row in connection.execute(query)
    ]


def create(change: Change, number: int, rollout: Rollout, moves: tuple[AliasMove, ...], text: str) -> None:
    """Write a new rollout, and its first event."""
    row = {
        "id": number,
        "endpoint": rollout.endpoint,
        "plan": _text(rollout.plan),
        "before": _text(without_address(rollout.before)),
        "after": _text(without_address(rollout.after)),
        "seed": rollout.seed,
        "moves": _text(moves),
        "state": _text(rollout.state),
        "judgement": "null",
        "created_at": change.time,
        "created_by": change.actor,
        "updated_at": change.time,
        "reason": change.reason,
        "revision": 1,
        "standing": True,
        "ended": rollout.state.ended,
    }
    change.connection.execute(insert(rollouts).values(row))
    told = {name: digest_of(str(row[name]).encode()) for name in DIGESTED}
    kept = {"endpoint": rollout.endpoint, "seed": rollout.seed, "revision": 1, "standing": True, "ended": row["ended"]}
    change.record("rollout.begun", f"rollout:{number}", None, told | kept)
    _event(change, number, 1, rollout.state, None, text)


def write(
    change: Change,
    record: RolloutRecord,
    state: RolloutState,
    judgement: Judgement | None,
    text: str,
    *,
    standing: bool,
) -> None:
    """Replace the state; raises Conflict (`rollout-moved`) where another process was first."""
    mine = rollouts.c.id == record.id, rollouts.c.revision == record.revision
    row = {"state": _text(state), "revision": record.revision + 1, "standing": standing, "ended": state.ended}
    written = change.connection.execute(
        update(rollouts).where(*mine).values(**row, judgement=_text(judgement), updated_at=change.time)
    )
    if not written.rowcount:
        raise Conflict("rollout-moved", f"rollout {record.id} was changed meanwhile", hint="look at it again")
    told = {**row, "state": digest_of(str(row["state"]).encode()), "because": text}
    change.record("rollout.moved", f"rollout:{record.id}", {"revision": record.revision}, told)
    _event(change, record.id, record.revision + 1, state, judgement, text)


def give_up(change: Change, record: RolloutRecord) -> None:
    """It is no longer why its endpoint serves what it does: something else was asked for."""
    row = {"revision": record.revision + 1, "standing": False}
    change.connection.execute(update(rollouts).where(rollouts.c.id == record.id).values(row))
    change.record("rollout.moved", f"rollout:{record.id}", {"revision": record.revision}, row)


def keep_judgement(store: Store, record: RolloutRecord, judgement: Judgement) -> None:
    """What is known by now, without a change of the state: for whoever looks."""
    mine = rollouts.c.id == record.id, rollouts.c.revision == record.revision
    with store.database.write() as connection:
        connection.execute(update(rollouts).where(*mine).values(judgement=_text(judgement), updated_at=store.now))


def _event(change: Change, number: int, seq: int, state: RolloutState, judgement: Judgement | None, text: str) -> None:
    row = {"rollout": number, "seq": seq, "at": change.time, "who": change.actor, "text": text}
    change.connection.execute(insert(rollout_events).values(**row, state=_text(state), judgement=_text(judgement)))


def _text(value: Any) -> str:
    return canonical_json(value).decode()


def _judgement(text: str) -> Judgement | None:
    return msgspec.json.decode(text, type=Judgement | None)


def _record(connection: Connection, store: Store, row: Row[Any]) -> RolloutRecord:
    sides = {side: msgspec.json.decode(row._mapping[side], type=Endpoint) for side in ("before", "after")}
    rollout = Rollout(
        endpoint=row.endpoint,
        plan=msgspec.json.decode(row.plan, type=RolloutPlan),
        seed=row.seed,
        state=msgspec.json.decode(row.state, type=RolloutState),
        **with_addresses(connection, store, sides),
    )
    kept = ("id", "created_at", "created_by", "updated_at", "reason", "revision", "standing")
    return RolloutRecord(
        **{name: row._mapping[name] for name in kept},
        rollout=rollout,
        moves=msgspec.json.decode(row.moves, type=tuple[AliasMove, ...]),
        judgement=_judgement(row.judgement),
    )
