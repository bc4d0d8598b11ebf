"""The registry's tables. The migrations create them; a test holds the two equal.

JSON is kept as canonical text, not in a database's own JSON type, which would reorder keys and round numbers.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION_TABLE = "penstock_schema"

metadata = MetaData()

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("model", Text, ForeignKey("models.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("blob", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("runtime", Text, nullable=False),
    Column("signature", Text, nullable=False),
    Column("lineage", Text, nullable=False),
    Column("waiver", Text, nullable=False),
    Column("measurements", Text, nullable=False),
    Column("licence", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("retired", Boolean, nullable=False),
    UniqueConstraint("model", "digest", name="versions_digest"),
)

_VERSION = (["model", "number"], ["versions.model", "versions.number"])

tags = Table(
    "tags",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    ForeignKeyConstraint(*_VERSION, name="tags_version"),
)

metrics = Table(
    "metrics",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Double, nullable=False),
    ForeignKeyConstraint(*_VERSION, name="metrics_version"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    ForeignKeyConstraint(*_VERSION, name="aliases_version"),
)

# Aliases that are moved only by what somebody else has approved; control writes it.
protected_aliases = Table("protected_aliases", metadata, Column("alias", Text, primary_key=True))

audit_events = Table(
    "audit_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
    # Two events after the same one would be a fork; the database itself refuses the second.
    UniqueConstraint("previous", name="audit_events_previous"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", Text, nullable=False),
)
