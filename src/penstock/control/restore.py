"""The way back from a backup, into a place where nothing is yet: all of it, or nothing."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, delete, func, insert, select

from penstock.control.backup import FORMAT, MANIFEST, TABLES, Backup, artifact_name, table_name
from penstock.core.digest import digest_of_file
from penstock.core.errors import InvalidInput, NotFound, PenstockError, Refused, Unsupported
from penstock.registry import audit
from penstock.registry.migrate import known_schemas, migrate
from penstock.registry.schema import audit_head
from penstock.storage.blobs import Blobs
from penstock.storage.database import open_database
from penstock.storage.disk import disk_errors

_MOST_MANIFEST_BYTES = 64 * 2**20
_ROWS_AT_ONCE = 500


def restore(source: Path, database_url: str, blobs: Blobs) -> Backup:
    """Fill an empty database and the blob store from a backup; every digest and the audit chain are checked.

    Raises Refused (`not-empty`) where something is registered, applied or recorded already, Unsupported
    (`newer-database`, `newer-format`) for a backup of a newer Penstock, InvalidInput (`damaged-backup`), NotFound.
    """
    try:
        with disk_errors(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="penstock-restore-") as folder:
            return _restore(source, database_url, blobs, Path(folder))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise _damaged(source, str(error)) from error


def _restore(source: Path, database_url: str, blobs: Blobs, scratch: Path) -> Backup:
    if not source.is_file():
        raise NotFound("unknown-file", f"there is no backup at {source}", hint="penstock backup FILE makes one")
    with zipfile.ZipFile(source) as archive:
        backup = _read_manifest(archive, source)
        tables = {
            table: _extract(archive, table_name(table), scratch / table.name, backup.tables[table.name].digest, source)
            for table in TABLES
            if table.name in backup.tables
        }
        database = open_database(database_url)
        try:
            migrate(database)
            with database.read() as connection:
                _check_empty(connection, database.name)
            for digest in backup.artifacts:
                blobs.put(_extract(archive, artifact_name(digest), scratch / "artifact", digest, source))
            with database.write() as connection:
                _check_empty(connection, database.name)
                for table, path in tables.items():
                    _fill(connection, table, path, source)
                _check_chain(connection, backup, source)
        finally:
            database.close()
    return backup


def _read_manifest(archive: zipfile.ZipFile, source: Path) -> Backup:
    try:
        if archive.getinfo(MANIFEST).file_size > _MOST_MANIFEST_BYTES:
            raise _damaged(source, f"{MANIFEST} is too large")
        data = archive.read(MANIFEST)
        if msgspec.json.decode(data, type=_FormatOnly).format > FORMAT:
            raise Unsupported("newer-backup", f"{source} was written by a newer Penstock", hint="upgrade this one")
        backup = msgspec.json.decode(data, type=Backup)
    except (KeyError, msgspec.MsgspecError) as error:
        raise _damaged(source, f"{MANIFEST}: {error}") from None
    if backup.schema not in known_schemas():
        raise Unsupported(
            "newer-database", f"{source} has schema {backup.schema}, newer than this Penstock", hint="upgrade penstock"
        )
    return backup


class _FormatOnly(msgspec.Struct):
    format: int


def _extract(archive: zipfile.ZipFile, name: str, path: Path, digest: str, source: Path) -> Path:
    """One member as a file, which is what the manifest says, or nothing is restored."""
    try:
        with archive.open(name) as member, path.open("wb") as file:
            shutil.copyfileobj(member, file)
    except KeyError:
        raise _damaged(source, f"{name} is missing") from None
    if digest_of_file(path) != digest:
        raise _damaged(source, f"{name} is not what was written")
    return path


def _check_empty(connection: Connection, name: str) -> None:
    for table in TABLES:
        count = connection.execute(select(func.count()).select_from(table)).scalar_one()
        if count and table is not audit_head:
            raise Refused(
                "not-empty",
                f"{name} holds {count} rows in {table.name}",
                hint="restore into an empty place: --home NEW",
            )


def _fill(connection: Connection, table: Table, path: Path, source: Path) -> None:
    if table is audit_head:
        connection.execute(delete(table))
    waiting = _rows(path, source)
    while rows := list(islice(waiting, _ROWS_AT_ONCE)):
        if any(set(row) != set(table.columns.keys()) for row in rows):
            raise _damaged(source, f"{table.name} has other columns")
        connection.execute(insert(table), rows)


def _rows(path: Path, source: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise _damaged(source, f"{path.name}: {error}") from None


def _check_chain(connection: Connection, backup: Backup, source: Path) -> None:
    found = audit.verify(connection)
    if not found.whole or found.head != backup.audit_head:
        raise _damaged(source, f"its audit log is broken: {found.problem or 'it has another head'}")


def _damaged(source: Path, what: str) -> PenstockError:
    return InvalidInput("damaged-backup", f"{source}: {what}", hint="nothing was restored; take another backup")
