"""A backup: every table as it was at one moment and every artifact it names, in one file with a digest of each part.

The same file for both databases: rows as JSON lines, so that a backup of SQLite may be restored into PostgreSQL.
Keys are in it as digests only, as they are in the database.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Table, select, text

from penstock.control import schema
from penstock.control.store import Store
from penstock.core.digest import PREFIX, canonical_json, digest_of, digest_of_file
from penstock.registry import schema as registry_schema
from penstock.registry.versions import read_blobs
from penstock.security.identity import Identity
from penstock.security.permissions import allow
from penstock.storage.disk import disk_errors

FORMAT = 1
MANIFEST = "backup.json"
TABLES: tuple[Table, ...] = tuple(
    table
    for table in (*registry_schema.metadata.sorted_tables, *schema.metadata.sorted_tables)
    if table is not schema.leases
)
"""In an order in which they can be filled. A lease is a running process's, and the next one's database has others."""


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table: its rows counted, and the digest of their bytes."""

    rows: int
    digest: str


class Backup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backup says about itself. `schema` is the database's, `artifacts` the digests of the stored bundles."""

    format: int
    schema: str
    created_at: str
    audit_head: str
    tables: dict[str, Part]
    artifacts: tuple[str, ...]


def write_backup(store: Store, identity: Identity, target: Path) -> Backup:
    """Write everything to `target`, which appears whole or not at all.

    Raises Forbidden, Unavailable (`disk-full`, `artifacts-unavailable`), and what `Blobs.fetch` raises for an artifact
    that is gone: a backup that lacks something is none.
    """
    allow(identity, "backup")
    target = target.absolute()
    with disk_errors(str(target)), tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent) as folder:
        partial = Path(folder) / "partial"
        with zipfile.ZipFile(partial, "w", allowZip64=True) as archive:
            made = _fill(archive, store, Path(folder))
        # Its content is as secret as the database.
        partial.chmod(0o600)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    return made


def _fill(archive: zipfile.ZipFile, store: Store, scratch: Path) -> Backup:
    # One snapshot for all tables, in both databases; what names artifacts is never deleted, so they stay.
    with store.database.read() as connection:
        tables = {table.name: _write_table(archive, connection, table, scratch) for table in TABLES}
        blobs = read_blobs(connection)
        head = connection.execute(select(registry_schema.audit_head.c.hash)).scalar_one()
        version = connection.execute(text(f"SELECT version_num FROM {registry_schema.VERSION_TABLE}")).scalar_one()  # noqa: S608 - ours
    for blob in sorted(blobs):
        archive.write(store.blobs.fetch(blob, scratch), artifact_name(blob))
    made = Backup(
        format=FORMAT,
        schema=version,
        created_at=store.now,
        audit_head=head,
        tables=tables,
        artifacts=tuple(sorted(blobs)),
    )
    archive.writestr(MANIFEST, canonical_json(made))
    return made


def _write_table(archive: zipfile.ZipFile, connection: Connection, table: Table, scratch: Path) -> Part:
    path, rows = scratch / "rows", 0
    with path.open("wb") as file:
        for line in _lines(connection, table):
            file.write(line)
            rows += 1
    archive.write(path, table_name(table), zipfile.ZIP_DEFLATED)
    return Part(rows=rows, digest=digest_of_file(path) if rows else digest_of(b""))


def _lines(connection: Connection, table: Table) -> Iterator[bytes]:
    query = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=1000)
    with connection.execute(query) as rows:
        for row in rows:
            yield canonical_json(dict(row._mapping)) + b"\n"


def table_name(table: Table) -> str:
    """The member that holds a table's rows."""
    return f"tables/{table.name}.jsonl"


def artifact_name(digest: str) -> str:
    """The member that holds an artifact."""
    return f"artifacts/{digest.removeprefix(PREFIX)}"
