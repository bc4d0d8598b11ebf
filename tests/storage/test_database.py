"""The engine: addresses with hostile characters, settings of SQLite, and errors that hide every password."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from penstock.core.errors import InvalidInput, Unavailable
from penstock.storage.database import open_database

HOSTILE_PASSWORD = "p@ss:w/o?r#d%20&=+'\"\\ é[]"


def test_sqlite_keeps_its_promises_on_every_connection(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'a b%20?c#d&é.db'}")
    for context in (database.read, database.write):
        with context() as connection:
            pragmas = [
                connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
            ]
            assert pragmas == ["wal", 1, 2, 30_000]
    database.close()
    assert (tmp_path / "a b%20?c#d&é.db").is_file()


def test_a_write_holds_the_lock_from_its_first_moment(tmp_path):
    path = tmp_path / "x.db"
    database = open_database(f"sqlite:///{path}")
    other = sqlite3.connect(path, timeout=0)
    with database.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    database.close()


def test_a_write_that_fails_changes_nothing_tables_included(tmp_path):
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(text("CREATE TABLE t (a)"))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == 0
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://u:hush@h/d",
        "postgresql://u:p@hush@h/d",
    ],
)
def test_addresses_that_cannot_be_used_are_refused_without_repeating_their_secret(url):
    with pytest.raises(InvalidInput) as caught:
        open_database(url)
    assert caught.value.code == "invalid-database-url"
    assert "hush" not in str(caught.value)


def test_a_file_that_is_no_database_is_reported(tmp_path):
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to look at" * 50)
    database = open_database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(Unavailable) as caught, database.read():
        pass
    assert caught.value.code == "database-unavailable"
    database.close()


def test_an_unreachable_server_is_reported_without_the_password():
    database = open_database("postgresql://user:hush%40@127.0.0.1:9/db")
    assert "hush" not in database.name
    with pytest.raises(Unavailable) as caught, database.read():
        pass
    assert caught.value.code == "database-unavailable"
    assert "hush" not in str(caught.value)
    database.close()


def test_opening_waits_for_a_writer_of_a_file_that_is_not_in_wal_yet(tmp_path):
    path = tmp_path / "x.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("CREATE TABLE t (a)")
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), closing(sqlite3.connect(path, timeout=30)) as other:
        # Why it is needed: SQLite itself does not wait here, whatever its timeout.
        other.execute("PRAGMA journal_mode = WAL")
    database = open_database(f"sqlite:///{path}")
    with ThreadPoolExecutor(1) as pool:
        counted = pool.submit(_count_rows, database)
        with pytest.raises(TimeoutError):
            counted.result(timeout=0.2)
        writer.execute("INSERT INTO t VALUES (1)")
        writer.execute("COMMIT")
        assert counted.result(timeout=30) == 1
    writer.close()
    database.close()


def _count_rows(database):
    with database.read() as connection:
        return connection.execute(text("SELECT count(*) FROM t")).scalar()
