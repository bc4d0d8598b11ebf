"""The schema: created at opening, equal to the tables the code knows, and never read when a newer code wrote it."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from penstock.control.schema import metadata as control_metadata
from penstock.core.errors import Unsupported
from penstock.registry.registry import Registry
from penstock.registry.schema import VERSION_TABLE, metadata
from penstock.storage.database import open_database
from penstock.storage.folder import Folder


@pytest.fixture
def database(database_url):
    opened = open_database(database_url)
    yield opened
    opened.close()


def test_the_migrations_make_exactly_the_tables_of_the_schema(registry, database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, [metadata, control_metadata]) == []


def test_opening_again_keeps_what_is_there(registry, database_url, make_bundle, artifacts):
    version = registry.register(make_bundle())
    with Registry.open(database_url, Folder(artifacts), actor="ben") as again:
        assert again.resolve(version.ref) == version


def test_a_database_of_a_newer_penstock_is_refused(registry, database, database_url, artifacts):
    with database.write() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(Unsupported, match=r"schema 9999, newer than .*upgrade penstock.*\[newer-database\]"):
        Registry.open(database_url, Folder(artifacts), actor="ben")


def test_a_migration_that_fails_half_way_leaves_nothing(database, database_url, artifacts):
    with database.write() as connection:
        # In the way of the last table, so that all the others are created first.
        connection.execute(text("CREATE TABLE audit_head (id integer)"))
    with pytest.raises(Exception, match="audit_head"):
        Registry.open(database_url, Folder(artifacts), actor="ben")
    with database.write() as connection:
        connection.execute(text("DROP TABLE audit_head"))
    with Registry.open(database_url, Folder(artifacts), actor="ben") as registry:
        assert registry.verify_audit().whole
