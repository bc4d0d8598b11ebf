"""Rollouts: how one version takes over an endpoint, and every step of it with its reasons."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables; what was kept so far stays as it is."""
    op.create_table(
        "rollouts",
        _number("id", sa.Integer),
        *map(_text, ("endpoint", "plan", "before", "after", "seed", "moves", "state", "judgement")),
        *map(_text, ("created_at", "created_by", "updated_at", "reason")),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("standing", sa.Boolean, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
    )
    op.create_table(
        "rollout_events",
        _number("rollout", sa.Integer),
        _number("seq", sa.Integer),
        *map(_text, ("at", "who", "text", "state", "judgement")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _number(name: str, kind: type[sa.Integer]) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)
