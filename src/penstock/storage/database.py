"""The database engine: SQLite (WAL) in a file, or PostgreSQL by its address. The only place that knows the difference.

Reads see one snapshot. Writes on SQLite take the write lock at once, so a decision made inside never meets
"database is locked" half way.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError

from penstock.core.errors import InvalidInput, PenstockError, Unavailable, Unsupported

BUSY_TIMEOUT_MS = 30_000
_SQLITE = "sqlite:///"


class Database:
    """One database. `name` describes it for people and never holds a password."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name = name
        self.dialect = engine.dialect.name
        self._engine = engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which every statement sees the same snapshot."""
        options: dict[str, Any] = {}
        if self.dialect == "postgresql":
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self._errors(), self._engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that is committed at the end, or rolled back when anything is raised."""
        options: dict[str, Any] = {"begin": "BEGIN IMMEDIATE"}
        if self.dialect == "postgresql":
            # Each statement after the one that takes the lock must see what the previous holder committed.
            options = {"isolation_level": "READ COMMITTED"}
        with self._errors(), self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Close every idle connection."""
        self._engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DatabaseError as error:
            raise _explained(self.name, error) from error


def _explained(name: str, error: DatabaseError) -> PenstockError:
    text = str(error.orig).strip().partition("\n")[0]
    if "disk is full" in text or "No space left" in text or "disk I/O error" in text:
        return Unavailable("disk-full", f"{name}: {text}", hint="free some space; nothing was changed")
    if "database is locked" in text:
        return Unavailable("database-busy", f"{name} was locked for {BUSY_TIMEOUT_MS // 1000} s", hint="try again")
    return Unavailable("database-unavailable", f"{name}: {text}", hint="check --database or PENSTOCK_DATABASE")


def open_database(url: str) -> Database:
    """Open `sqlite:///PATH` (everything after the third slash is the path, as it is) or `postgresql://...`.

    Raises InvalidInput for another address, Unsupported when the driver is not installed. PostgreSQL is not
    contacted before the first statement.
    """
    if url.startswith("sqlite:"):
        return _open_sqlite(url)
    parsed = _parse_postgresql(url)
    try:
        arguments = {} if "connect_timeout" in parsed.query else {"connect_timeout": 10}
        engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=True, pool_size=2)
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"PostgreSQL needs {error.name}", hint="pip install 'penstock[postgres]'"
        ) from error
    return Database(engine, parsed.set(drivername="postgresql").render_as_string(hide_password=True))


def _parse_postgresql(url: str) -> URL:
    # No message repeats the address: a wrongly written one may show a part of the password in any place.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InvalidInput(
            "invalid-database-url",
            "the database address is neither sqlite:///PATH nor postgresql://USER:PASSWORD@HOST/NAME",
            hint="percent-encode every other character than letters and digits in the password, or use PGPASSWORD",
        )
    if "@" in (parsed.host or ""):
        # An unencoded @ cuts the password in two and the rest would be shown as the name of a host.
        raise InvalidInput(
            "invalid-database-url", "the password in the database address holds a bare @", hint="write %40 instead"
        )
    return parsed.set(drivername="postgresql+psycopg")


def _open_sqlite(url: str) -> Database:
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path or path == ":memory:":
        raise InvalidInput(
            "invalid-database-url", f"{url!r} names no file", hint="write sqlite:///relative.db or sqlite:////full.db"
        )
    # URL.create, not text: a path may hold ? and %, which an address would read as its own.
    engine = create_engine(URL.create("sqlite", database=path), connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return Database(engine, url)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The driver would begin transactions by itself, too late and never for DDL; `_begin_sqlite` does it.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # FULL, not NORMAL: a committed audit event must survive a power cut.
    connection.execute("PRAGMA synchronous = FULL")
    _switch_to_wal(connection)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The one statement for which SQLite does not wait: two processes that open a new file at once meet here.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))
