"""Control's tables, beside the registry's in one database. The migrations create them; a test holds the two equal.

JSON is kept as canonical text, moments that are compared as seconds since 1970, those that are only shown as RFC 3339.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, MetaData, Table, Text

metadata = MetaData()


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


generations = Table(
    "generations",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    # The generation in which the spec last changed: keys raise the generation, too, and are nobody's rival.
    Column("spec_generation", BigInteger, nullable=False),
    *map(_text, ("spec", "spec_digest", "endpoints", "created_at", "created_by", "reason")),
)

releases = Table(
    "releases",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    # What the endpoint is since this generation; null where it was removed.
    *map(_text, ("content", "created_at", "created_by")),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    *map(_text, ("digest", "subject", "role", "endpoints", "created_at", "created_by")),
    Column("rate_per_s", Double),
    Column("expires_at", Double),
    Column("revoked_at", Double),
)

nodes = Table(
    "nodes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    *map(_text, ("digest", "state", "problems", "address")),
    Column("processes", Integer, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("seen_at", Double, nullable=False),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    *map(_text, ("kind", "state", "request", "progress", "error", "created_at", "created_by", "updated_at", "reason")),
    Column("generation", BigInteger),
    Column("approval", Integer),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    *map(_text, ("kind", "subject", "request", "because", "state", "requested_at", "requested_by")),
    *map(_text, ("decided_at", "decided_by", "reason")),
    Column("four_eyes", Boolean, nullable=False),
    Column("operation", Integer),
)

gate_reports = Table(
    "gate_reports",
    metadata,
    Column("model", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("endpoint", Text, primary_key=True),
    # The digest of the gates that were asked for: other gates need another report.
    Column("plan", Text, primary_key=True),
    *map(_text, ("verdict", "report", "created_at", "created_by")),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    # What only one process may do at a time, and who does it until when: seconds since 1970 by the database's clock.
    Column("name", Text, primary_key=True),
    *map(_text, ("holder",)),
    Column("expires_at", Double, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    *map(_text, ("endpoint", "plan", "before", "after", "seed", "moves", "state", "judgement")),
    *map(_text, ("created_at", "created_by", "updated_at", "reason")),
    # Raised by every change: of two processes that decided from the same state, one writes.
    Column("revision", Integer, nullable=False),
    # Whether it is why its endpoint serves something else than the spec says: it goes on, or it went back.
    Column("standing", Boolean, nullable=False),
    Column("ended", Boolean, nullable=False),
)

rollout_events = Table(
    "rollout_events",
    metadata,
    Column("rollout", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    *map(_text, ("at", "who", "text", "state", "judgement")),
)
