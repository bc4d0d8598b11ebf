"""Models, versions, aliases and the audit log with its guards."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

GENESIS = "sha256:" + "0" * 64


def upgrade() -> None:
    """Create every table; the audit log starts with a head that points at nothing."""
    op.create_table(
        "models",
        sa.Column("name", sa.Text, primary_key=True),
        _text("created_at"),
        _text("created_by"),
    )
    op.create_table(
        "versions",
        sa.Column("model", sa.Text, sa.ForeignKey("models.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *map(_text, ("digest", "blob", "kind", "runtime", "signature", "lineage", "waiver", "measurements", "licence")),
        _text("created_at"),
        _text("created_by"),
        sa.Column("retired", sa.Boolean, nullable=False),
        sa.UniqueConstraint("model", "digest", name="versions_digest"),
    )
    _create_per_version("tags", sa.Column("key", sa.Text, primary_key=True), _text("value"))
    _create_per_version(
        "metrics", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Double, nullable=False)
    )
    op.create_table(
        "aliases",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("alias", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        _to_version("aliases"),
    )
    op.create_table(
        "audit_events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        *map(_text, ("time", "actor", "action", "subject", "before", "after", "reason", "previous", "hash")),
        sa.UniqueConstraint("previous", name="audit_events_previous"),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seq", sa.Integer, nullable=False),
        _text("hash"),
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": GENESIS}])
    for statement in _SQLITE_GUARDS if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL_GUARDS:
        op.execute(statement)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


def _to_version(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["model", "number"], ["versions.model", "versions.number"], name=f"{table}_version")


def _create_per_version(table: str, *columns: "sa.Column[str] | sa.Column[float]") -> None:
    op.create_table(
        table,
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        *columns,
        _to_version(table),
    )


# An event may only follow the last one: INSERT OR REPLACE would otherwise delete a row without firing its trigger.
_FOLLOWS = f"""NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit_events)
    OR NEW.previous <> coalesce((SELECT hash FROM audit_events ORDER BY seq DESC LIMIT 1), '{GENESIS}')"""  # noqa: S608 - ours

_SQLITE_GUARDS = (
    """CREATE TRIGGER audit_events_update BEFORE UPDATE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_events_delete BEFORE DELETE ON audit_events
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    f"""CREATE TRIGGER audit_events_insert BEFORE INSERT ON audit_events WHEN {_FOLLOWS}
    BEGIN SELECT RAISE(ABORT, 'an audit event follows the last one'); END""",
)

_POSTGRESQL_GUARDS = (
    """CREATE FUNCTION audit_events_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$""",
    f"""CREATE FUNCTION audit_events_follow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF {_FOLLOWS} THEN RAISE EXCEPTION 'an audit event follows the last one'; END IF; RETURN NEW; END $$""",
    """CREATE TRIGGER audit_events_change BEFORE UPDATE OR DELETE ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_refuse()""",
    """CREATE TRIGGER audit_events_truncate BEFORE TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_refuse()""",
    """CREATE TRIGGER audit_events_insert BEFORE INSERT ON audit_events
    FOR EACH ROW EXECUTE FUNCTION audit_events_follow()""",
)
