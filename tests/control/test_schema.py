"""The schema: made by the migrations as the code declares it, from every released one with what it holds."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from tests.control.conftest import ANA

from penstock.control import schema
from penstock.control.control import Control
from penstock.core.errors import Unavailable, Unsupported
from penstock.registry import migrate
from penstock.registry import schema as registry_schema
from penstock.registry.registry import Registry
from penstock.storage.database import open_database
from penstock.storage.folder import Folder

RELEASED = ["0001"]


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


def test_the_migrations_make_exactly_the_declared_tables(control, database):
    with database.read() as connection:
        options = {"version_table": registry_schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, [registry_schema.metadata, schema.metadata]) == []


@pytest.mark.parametrize("released", RELEASED)
def test_a_database_of_every_released_schema_is_brought_up_with_what_it_holds(
    released, database, database_url, home, open_control
):
    config = migrate._config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, released)
        connection.execute(text("INSERT INTO models VALUES ('old', '2026-01-01T00:00:00.000Z', 'ana')"))
    control = open_control()
    with database.read() as connection:
        assert connection.execute(text("SELECT name FROM models")).scalars().all() == ["old"]
    assert control.routes().generation == 0
    assert control.create_key("shop", "viewer", identity=ANA).key.state == "valid"
    assert control.registry(ANA).verify_audit().whole


def test_an_older_control_refuses_a_newer_database(control, database, database_url, home):
    with database.write() as connection:
        connection.execute(text(f"UPDATE {registry_schema.VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(Unsupported, match="newer-database"):
        Control.open(database_url, Folder(home / "artifacts"), home)


def test_a_database_that_is_away_is_named(tmp_path):
    with pytest.raises(Unavailable, match="database-unavailable"):
        Control.open(f"sqlite:///{tmp_path / 'no' / 'x.db'}", Folder(tmp_path), tmp_path)
    with pytest.raises(Unavailable, match="database-unavailable"):
        Control.open("postgresql://nobody@127.0.0.1:1/x?connect_timeout=2", Folder(tmp_path), tmp_path)


def test_the_registry_alone_still_opens_the_database(control, database_url, home):
    with Registry.open(database_url, Folder(home / "artifacts"), actor="ana") as registry:
        assert registry.verify_audit().whole
