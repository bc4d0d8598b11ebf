"""Bringing a database to the schema this code knows: at every opening, at once when there is nothing to do."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from penstock.core.errors import Unsupported
from penstock.registry.schema import VERSION_TABLE
from penstock.storage.database import Database

# The advisory lock under which PostgreSQL lets one process at a time create tables: "penstock" in ASCII.
_LOCK = int.from_bytes(b"penstock", "big")


def migrate(database: Database) -> None:
    """Upgrade `database` to the newest schema; several processes may do so at once.

    Raises Unsupported (`newer-database`) when a newer Penstock has written it: reading it with old eyes could lose
    what the newer one stored.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    with database.read() as connection:
        if _is_current(connection, scripts):
            return
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        # Again, under the lock: another process may have done it between the two.
        if not _is_current(connection, scripts):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def known_schemas() -> frozenset[str]:
    """Every schema this code can read, by upgrading where it is an older one."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    config = Config()
    # Alembic would read a % in the path as an interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _is_current(connection: Connection, scripts: ScriptDirectory) -> bool:
    if not inspect(connection).has_table(VERSION_TABLE):
        return False
    found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()  # noqa: S608 - ours
    if not set(found) <= known_schemas():
        raise Unsupported(
            "newer-database",
            f"the database has schema {', '.join(found)}, newer than {scripts.get_current_head()}, the newest known",
            hint="upgrade penstock on this machine",
        )
    return found == [scripts.get_current_head()]
