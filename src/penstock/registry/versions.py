"""Versions in the database: numbered one by one under a model's name, never deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Table, and_, delete, func, insert, select, union, update

from penstock.bundle.manifest import Lineage, Manifest, Waiver
from penstock.core.digest import canonical_json
from penstock.core.errors import NotFound, Refused
from penstock.core.names import VersionRef
from penstock.core.signature import Signature
from penstock.registry.audit import Change
from penstock.registry.records import Model, Version
from penstock.registry.schema import aliases, audit_events, metrics, models, tags, versions

GATE_FILE_STORED = "gate-file.stored"
"""The event of the audit log that a file of gates is in the blob store; its subject is the digest."""


def _at(table: Table, model: str, number: int) -> ColumnElement[bool]:
    return and_(table.c.model == model, table.c.number == number)


def find_version(connection: Connection, model: str, number: int) -> Row[Any]:
    """The row of a version; raises NotFound (`unknown-model`, `unknown-version`)."""
    row = connection.execute(select(versions).where(_at(versions, model, number))).one_or_none()
    if row is None:
        check_model(connection, model)
        raise NotFound("unknown-version", f"there is no {model}/{number}", hint=f"penstock list {model}")
    return row


def find_digest(connection: Connection, model: str, digest: str) -> Row[Any] | None:
    """The row of the version of `model` that is this bundle, if it is registered."""
    query = select(versions).where(versions.c.model == model, versions.c.digest == digest)
    return connection.execute(query).one_or_none()


def check_model(connection: Connection, model: str) -> None:
    """Raise NotFound (`unknown-model`) when no version was ever registered under this name."""
    if connection.execute(select(models.c.name).where(models.c.name == model)).first() is None:
        raise NotFound("unknown-model", f"there is no model {model!r}", hint="penstock list")


def resolve_number(connection: Connection, ref: VersionRef) -> int:
    """The number a reference means now: its own, its alias's, or the newest that is not retired."""
    if ref.number is not None:
        return ref.number
    check_model(connection, ref.name)
    if ref.alias is not None:
        query = select(aliases.c.number).where(aliases.c.model == ref.name, aliases.c.alias == ref.alias)
        code, what = "unknown-alias", f"model {ref.name!r} has no alias {ref.alias!r}"
    else:
        query = select(func.max(versions.c.number)).where(versions.c.model == ref.name, versions.c.retired.is_(False))
        code, what = "unknown-version", f"every version of {ref.name!r} is retired"
    number: int | None = connection.execute(query).scalar_one_or_none()
    if number is None:
        raise NotFound(code, what, hint=f"penstock list {ref.name}")
    return number


def read_blobs(connection: Connection) -> frozenset[str]:
    """Every artifact that something names: the bundles of versions, and files of gates."""
    files = select(audit_events.c.subject).where(audit_events.c.action == GATE_FILE_STORED)
    return frozenset(connection.execute(union(select(versions.c.blob), files)).scalars())


def is_gate_file(connection: Connection, digest: str) -> bool:
    """Whether a file of this digest was stored for gates."""
    query = select(audit_events.c.seq).where(audit_events.c.subject == digest)
    return connection.execute(query.where(audit_events.c.action == GATE_FILE_STORED)).first() is not None


def insert_version(change: Change, model: str, digest: str, blob: str, manifest: Manifest, measurements: Any) -> int:
    """Add a version with the next number and record it, with its pickle waiver if it has one; return the number."""
    connection = change.connection
    created = {"created_at": change.time, "created_by": change.actor}
    if connection.execute(select(models.c.name).where(models.c.name == model)).first() is None:
        connection.execute(insert(models).values(name=model, **created))
    newest = connection.execute(select(func.max(versions.c.number)).where(versions.c.model == model)).scalar_one()
    number: int = (newest or 0) + 1
    row = {
        "model": model,
        "number": number,
        "digest": digest,
        "blob": blob,
        "kind": manifest.kind,
        "runtime": manifest.served.runtime,
        "signature": canonical_json(manifest.signature).decode(),
        "lineage": canonical_json(manifest.lineage).decode(),
        "waiver": canonical_json(manifest.waiver).decode(),
        "measurements": canonical_json(measurements).decode(),
        "licence": manifest.licence,
        "retired": False,
        **created,
    }
    connection.execute(insert(versions).values(row))
    change.record(
        "version.registered", f"{model}/{number}", None, {"bundle": digest, "artifact": blob, "retired": False}
    )
    if manifest.waiver is not None:
        change.record("waiver.given", f"{model}/{number}", None, manifest.waiver)
    return number


def replace_blob(change: Change, row: Row[Any], blob: str) -> None:
    """Point a version whose archive was lost at a new archive of the same bundle."""
    change.connection.execute(update(versions).where(_at(versions, row.model, row.number)).values(blob=blob))
    change.record("version.stored", f"{row.model}/{row.number}", {"artifact": row.blob}, {"artifact": blob})


def set_retired(change: Change, model: str, number: int, retired: bool) -> None:
    """Mark a version as one that nothing may point at any more, or take the mark away."""
    row = find_version(change.connection, model, number)
    query = select(aliases.c.alias).where(_at(aliases, model, number)).order_by(aliases.c.alias)
    pointing = change.connection.execute(query).scalars().all()
    if retired and pointing:
        raise Refused(
            "version-aliased",
            f"{model}/{number} is {', '.join(pointing)}",
            hint="move or delete the alias first: penstock alias MODEL ALIAS VERSION",
        )
    if row.retired != retired:
        change.connection.execute(update(versions).where(_at(versions, model, number)).values(retired=retired))
        change.record(
            "version.retired" if retired else "version.restored",
            f"{model}/{number}",
            {"retired": row.retired},
            {"retired": retired},
        )


def set_entries(change: Change, table: Table, model: str, number: int, entries: Mapping[str, Any]) -> None:
    """Add or replace tags or metrics; None takes one away. What is already so is neither written nor recorded."""
    find_version(change.connection, model, number)
    stored = _entries(change.connection, table, model).get(number, {})
    changed = {key: value for key, value in entries.items() if stored.get(key) != value}
    if not changed:
        return
    here = _at(table, model, number)
    change.connection.execute(delete(table).where(here, table.c.key.in_(list(changed))))
    rows = [
        {"model": model, "number": number, "key": key, "value": value}
        for key, value in changed.items()
        if value is not None
    ]
    if rows:
        change.connection.execute(insert(table), rows)
    before = {key: stored.get(key) for key in changed}
    change.record(f"{table.name}.set", f"{model}/{number}", before, changed)


def _entries(connection: Connection, table: Table, model: str) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(select(table.c.number, table.c.key, table.c.value).where(table.c.model == model)):
        found.setdefault(row.number, {})[row.key] = row.value
    return found


def read_versions(connection: Connection, model: str, uri: Callable[[str], str], number: int = 0) -> list[Version]:
    """Every version of a model, newest first, or the one with the given number; `uri` turns a blob into an address."""
    check_model(connection, model)
    query = select(versions).where(versions.c.model == model).order_by(versions.c.number.desc())
    if number:
        query = query.where(versions.c.number == number)
    names: dict[int, list[str]] = {}
    for row in connection.execute(select(aliases.c.number, aliases.c.alias).where(aliases.c.model == model)):
        names.setdefault(row.number, []).append(row.alias)
    all_tags, all_metrics = (_entries(connection, table, model) for table in (tags, metrics))
    return [
        _version(
            row,
            uri=uri(row.blob),
            aliases=tuple(sorted(names.get(row.number, ()))),
            tags=dict(sorted(all_tags.get(row.number, {}).items())),
            metrics=dict(sorted(all_metrics.get(row.number, {}).items())),
        )
        for row in connection.execute(query)
    ]


def _version(row: Row[Any], **attached: Any) -> Version:
    decoded = {
        "signature": msgspec.json.decode(row.signature, type=Signature),
        "lineage": msgspec.json.decode(row.lineage, type=Lineage),
        "waiver": msgspec.json.decode(row.waiver, type=Waiver | None),
        "measurements": msgspec.json.decode(row.measurements),
    }
    return Version(**{**row._mapping, **decoded, **attached})


def read_models(connection: Connection) -> list[Model]:
    """Every model in the order of the names."""
    pointing: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(aliases)):
        pointing.setdefault(row.model, {})[row.alias] = row.number
    query = (
        select(
            models.c.name, models.c.created_at, func.count().label("count"), func.max(versions.c.number).label("top")
        )
        .join(versions, versions.c.model == models.c.name)
        .group_by(models.c.name, models.c.created_at)
    )
    found = [
        Model(
            name=row.name,
            created_at=row.created_at,
            versions=row._mapping["count"],
            newest=row.top,
            aliases=dict(sorted(pointing.get(row.name, {}).items())),
        )
        for row in connection.execute(query)
    ]
    # Here and not in the database: the two sort letters differently.
    return sorted(found, key=lambda model: model.name)
