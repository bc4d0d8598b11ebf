"""The audit log played from its beginning must end in what the tables say: a change that was not recorded shows."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, select

from penstock.registry.audit import read_events
from penstock.registry.schema import aliases, metrics, tags, versions

_PARTS = frozenset({"version", "alias", "waiver", "tags", "metrics"})
State = dict[tuple[str, str], dict[str, Any]]
"""(subject, part of it) to its fields; the parts are `version`, `alias`, `waiver`, `tags` and `metrics`."""


def find_unrecorded(connection: Connection) -> str:
    """The first difference between tables and log, in words; empty when there is none."""
    recorded, stored = replay(connection), _read_tables(connection)
    for key in sorted(recorded.keys() | stored.keys()):
        if recorded.get(key) != stored.get(key):
            subject, part = key
            return f"{part} of {subject} is {stored.get(key)}, but the log says {recorded.get(key)}"
    return ""


def replay(connection: Connection) -> State:
    """The state that the audit log tells."""
    state: State = {}
    for event in read_events(connection):
        part, _, verb = event.action.partition(".")
        if part not in _PARTS:
            # Of control, which keeps its own tables.
            continue
        key = (event.subject, part)
        merged = {**state.get(key, {}), **(event.after or {})}
        # None is how the log writes a tag that was taken away, and an alias that was deleted has nothing after it.
        state[key] = {name: value for name, value in merged.items() if value is not None}
        if verb == "deleted" or not state[key]:
            del state[key]
    return state


def _read_tables(connection: Connection) -> State:
    state: State = {}
    for row in connection.execute(select(versions)):
        ref = f"{row.model}/{row.number}"
        state[ref, "version"] = {"bundle": row.digest, "artifact": row.blob, "retired": bool(row.retired)}
        if row.waiver != "null":
            state[ref, "waiver"] = msgspec.json.decode(row.waiver)
    for row in connection.execute(select(aliases)):
        state[f"{row.model}@{row.alias}", "alias"] = {"version": row.number}
    for table in (tags, metrics):
        for row in connection.execute(select(table)):
            state.setdefault((f"{row.model}/{row.number}", table.name), {})[row.key] = row.value
    return state
