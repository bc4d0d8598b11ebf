"""What control keeps: generations, releases, keys, nodes, operations, approvals, gate reports, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables; what the registry holds stays as it is."""
    op.create_table("protected_aliases", _name("alias"))
    op.create_table(
        "generations",
        _number("generation", sa.BigInteger),
        sa.Column("spec_generation", sa.BigInteger, nullable=False),
        *map(_text, ("spec", "spec_digest", "endpoints", "created_at", "created_by", "reason")),
    )
    op.create_table(
        "releases",
        _name("endpoint"),
        _number("generation", sa.BigInteger),
        *map(_text, ("content", "created_at", "created_by")),
    )
    op.create_table(
        "api_keys",
        _name("id"),
        *map(_text, ("digest", "subject", "role", "endpoints", "created_at", "created_by")),
        *(sa.Column(name, sa.Double) for name in ("rate_per_s", "expires_at", "revoked_at")),
    )
    op.create_table(
        "nodes",
        _name("name"),
        sa.Column("generation", sa.BigInteger, nullable=False),
        *map(_text, ("digest", "state", "problems", "address")),
        sa.Column("processes", sa.Integer, nullable=False),
        sa.Column("ready", sa.Boolean, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )
    op.create_table(
        "operations",
        _number("id", sa.Integer),
        *map(_text, ("kind", "state", "request", "progress", "error")),
        *map(_text, ("created_at", "created_by", "updated_at", "reason")),
        sa.Column("generation", sa.BigInteger),
        sa.Column("approval", sa.Integer),
    )
    op.create_table(
        "approvals",
        _number("id", sa.Integer),
        *map(_text, ("kind", "subject", "request", "because", "state", "requested_at", "requested_by")),
        *map(_text, ("decided_at", "decided_by", "reason")),
        sa.Column("four_eyes", sa.Boolean, nullable=False),
        sa.Column("operation", sa.Integer),
    )
    op.create_table(
        "gate_reports",
        _name("model"),
        _number("number", sa.Integer),
        _name("endpoint"),
        _name("plan"),
        *map(_text, ("verdict", "report", "created_at", "created_by")),
    )
    op.create_table(
        "idempotency",
        _name("subject"),
        _name("key"),
        _text("request"),
        _text("response"),
        sa.Column("created_at", sa.Double, nullable=False),
    )


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, nullable=False)


def _name(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text, primary_key=True)


def _number(name: str, kind: "type[sa.Integer]") -> "sa.Column[int]":
    return sa.Column(name, kind, primary_key=True, autoincrement=False)
