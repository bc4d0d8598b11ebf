"""Where bundles are fetched: not kept but looked up, because artifacts may move, by a restore for example."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
from sqlalchemy import Connection, select

from penstock.control.store import Store
from penstock.core.names import parse_version_ref
from penstock.core.routes import Arm, Endpoint, Shadow
from penstock.registry.schema import versions

Endpoints = Mapping[str, Endpoint]


def with_addresses(connection: Connection, store: Store, endpoints: Endpoints) -> dict[str, Endpoint]:
    """The endpoints with the address of each arm's and shadow's bundle."""
    models = {parse_version_ref(one.version).name for endpoint in endpoints.values() for one in loaded(endpoint)}
    query = select(versions.c.model, versions.c.number, versions.c.blob).where(versions.c.model.in_(models))
    blobs = {f"{row.model}/{row.number}": row.blob for row in connection.execute(query)}
    return _replaced(endpoints, lambda one: store.blobs.uri(blobs[one.version]))


def without_addresses(endpoints: Endpoints) -> dict[str, Endpoint]:
    """The endpoints as they are kept."""
    return _replaced(endpoints, lambda one: "")


def without_address(endpoint: Endpoint) -> Endpoint:
    """One endpoint as it is kept."""
    return without_addresses({"": endpoint})[""]


def loaded(endpoint: Endpoint) -> Iterator[Arm | Shadow]:
    """Everything of an endpoint that a node loads."""
    yield from endpoint.arms
    yield from endpoint.shadows


def _replaced(endpoints: Endpoints, address: Callable[[Arm | Shadow], str]) -> dict[str, Endpoint]:
    replace = msgspec.structs.replace
    return {
        name: replace(
            endpoint,
            arms=tuple(replace(arm, uri=address(arm)) for arm in endpoint.arms),
            shadows=tuple(replace(shadow, uri=address(shadow)) for shadow in endpoint.shadows),
        )
        for name, endpoint in endpoints.items()
    }
