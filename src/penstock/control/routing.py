"""Generations: what was applied, one after the other, and the route document that the newest one means."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, insert, select

from penstock.control.addresses import Endpoints, with_addresses, without_address, without_addresses
from penstock.control.records import Generation, RolloutRecord
from penstock.control.rollout_rows import read_standing
from penstock.control.schema import api_keys, generations, releases
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.digest import canonical_json, digest_of
from penstock.core.routes import FORMAT, Access, Endpoint, KeyEntry, RouteDocument
from penstock.registry.aliases import write_protected
from penstock.registry.audit import Change


class Head(msgspec.Struct, frozen=True):
    """The newest generation, read; generation 0 is before the first apply.

    `endpoints` are what is served; where a rollout is `standing`, it is on its way to something else, or went back.
    """

    generation: int
    spec_generation: int
    spec: Spec | None
    spec_digest: str
    endpoints: dict[str, Endpoint]
    standing: dict[str, RolloutRecord] = {}

    @property
    def wanted(self) -> dict[str, Endpoint]:
        """What the spec asks for."""
        return self.endpoints | {name: record.rollout.after for name, record in self.standing.items()}


def read_head(connection: Connection, store: Store) -> Head:
    """What is, as seen by this transaction."""
    row = _newest(connection)
    if row is None:
        return Head(0, 0, None, "", {})
    return Head(
        row.generation,
        row.spec_generation,
        msgspec.json.decode(row.spec, type=Spec),
        row.spec_digest,
        with_addresses(connection, store, msgspec.json.decode(row.endpoints, type=dict[str, Endpoint])),
        read_standing(connection, store),
    )


def digest_of_spec(spec: Spec | None) -> str:
    """The digest of the canonical JSON; "" for none."""
    return "" if spec is None else digest_of(canonical_json(spec))


def write_applied(
    change: Change, head: Head, spec: Spec, endpoints: Endpoints, moving: Collection[str] = frozenset()
) -> int:
    """The next generation, with a release for each endpoint that is another one now; returns its number.

    Those that a rollout is `moving` are no releases yet.
    """
    generation = head.generation + 1
    for name in sorted({*head.endpoints, *endpoints}):
        _write_endpoint(change, generation, name, head.endpoints.get(name), endpoints.get(name), name not in moving)
    _insert(change, generation, generation, spec, endpoints)
    write_protected(change, sorted(set(spec.protected_aliases)))
    change.record(
        "spec.applied",
        f"generation:{generation}",
        {"generation": head.generation, "spec": head.spec_digest},
        {"generation": generation, "spec": digest_of_spec(spec)},
    )
    return generation


def write_moved(change: Change, head: Head, name: str, endpoint: Endpoint, *, steady: bool) -> int:
    """The next generation with another state of one endpoint, which is a release where it is `steady`."""
    generation = head.generation + 1
    _write_endpoint(change, generation, name, head.endpoints.get(name), endpoint, steady)
    raise_generation(change, msgspec.structs.replace(head, endpoints={**head.endpoints, name: endpoint}), generation)
    return generation


def raise_generation(change: Change, head: Head, at_least: int = 0) -> None:
    """The same spec under the next number, or under `at_least`: what else nodes are told has changed."""
    if head.spec is None:
        return
    generation = max(head.generation + 1, at_least)
    _insert(change, generation, head.spec_generation, head.spec, head.endpoints)
    change.record(
        "generation.raised",
        f"generation:{generation}",
        {"generation": head.generation},
        {"generation": generation},
    )


def _write_endpoint(
    change: Change, generation: int, name: str, before: Endpoint | None, after: Endpoint | None, steady: bool
) -> None:
    if before == after:
        return
    content = canonical_json(None if after is None else without_address(after)).decode()
    if steady and content != _newest_release(change.connection, name):
        row = {"endpoint": name, "generation": generation, "content": content}
        change.connection.execute(insert(releases).values(**row, created_at=change.time, created_by=change.actor))
        change.record("endpoint.released", f"endpoint:{name}", _arms(before), _arms(after))
    else:
        change.record("endpoint.moved", f"endpoint:{name}", _arms(before), _arms(after))


def _newest_release(connection: Connection, name: str) -> str | None:
    newest = select(releases.c.content).where(releases.c.endpoint == name)
    return connection.execute(newest.order_by(releases.c.generation.desc()).limit(1)).scalar_one_or_none()


def keys_changed(change: Change, store: Store) -> None:
    """Tell nodes of another set of keys, where they check keys at all."""
    head = read_head(change.connection, store)
    if head.spec is not None and head.spec.access.required:
        raise_generation(change, head)


def read_routes(store: Store) -> RouteDocument:
    """The document that nodes follow now."""
    with store.database.read() as connection:
        head = read_head(connection, store)
        access = None
        if head.spec is not None and head.spec.access.required:
            access = Access(keys=_entries(connection, store.clock()))
    return RouteDocument(format=FORMAT, generation=head.generation, endpoints=head.endpoints, access=access)


def read_spec(store: Store) -> Spec | None:
    """The spec that was applied last."""
    with store.database.read() as connection:
        return read_head(connection, store).spec


def read_generation(store: Store) -> Generation | None:
    """The newest generation."""
    found = read_generations(store, None, 1)
    return found[0] if found else None


def read_generations(store: Store, before: int | None, limit: int) -> list[Generation]:
    """Generations with a smaller number than `before`, the newest first."""
    query = select(generations).order_by(generations.c.generation.desc()).limit(limit)
    if before is not None:
        query = query.where(generations.c.generation < before)
    with store.database.read() as connection:
        return [
            Generation(**{name: row._mapping[name] for name in Generation.__struct_fields__})
            for row in connection.execute(query)
        ]


def _newest(connection: Connection) -> Row[Any] | None:
    return connection.execute(select(generations).order_by(generations.c.generation.desc()).limit(1)).one_or_none()


def _insert(change: Change, generation: int, spec_generation: int, spec: Spec, endpoints: Endpoints) -> None:
    change.connection.execute(
        insert(generations).values(
            generation=generation,
            spec_generation=spec_generation,
            spec=canonical_json(spec).decode(),
            spec_digest=digest_of_spec(spec),
            endpoints=canonical_json(without_addresses(endpoints)).decode(),
            created_at=change.time,
            created_by=change.actor,
            reason=change.reason,
        )
    )


def _entries(connection: Connection, now: float) -> dict[str, KeyEntry]:
    # An ended key stays until its moment: nodes compare the time themselves and need no new generation for it.
    rows = connection.execute(select(api_keys).where(api_keys.c.revoked_at.is_(None)).order_by(api_keys.c.id))
    return {
        row.id: KeyEntry(
            digest=row.digest,
            subject=row.subject,
            endpoints=msgspec.json.decode(row.endpoints, type=tuple[str, ...] | None),
            expires_at=row.expires_at,
            rate_per_s=row.rate_per_s,
            # For testing: whoever may change what an endpoint serves may also ask one of its arms.
            overrides=row.role != "viewer",
        )
        for row in rows
    }


def _arms(endpoint: Endpoint | None) -> dict[str, Any] | None:
    if endpoint is None:
        return None
    arms = {arm.name: f"{arm.version} {arm.weight}" for arm in endpoint.arms}
    return {"arms": arms, "endpoint": digest_of(canonical_json(without_address(endpoint)))}
