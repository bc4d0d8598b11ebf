"""What Alembic runs for every upgrade: on the connection it is handed, in the transaction that connection is in."""

from alembic import context

from penstock.registry.schema import VERSION_TABLE, metadata

# Alembic runs this file as a script inside an upgrade; imported by anything else, it must do nothing.
if hasattr(context, "config"):
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        # SQLite's DDL is transactional once the driver leaves BEGIN to us, whatever Alembic believes.
        transactional_ddl=True,
    )
    context.run_migrations()
