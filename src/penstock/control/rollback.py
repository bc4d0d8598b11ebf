"""Back to an earlier release of an endpoint, in one transaction: its versions, routes, settings, gates and aliases.

Nothing is judged again: it was served before. What is left is written down as a rollout that went back, so that
applying the same spec once more does not bring it back unasked.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from penstock.control import rollout_rows, rollouts
from penstock.control.addresses import loaded, with_addresses, without_address
from penstock.control.meaning import arms_of
from penstock.control.records import AliasMove, Release, RolloutRecord
from penstock.control.routing import Head, read_head, write_applied
from penstock.control.schema import generations, releases
from penstock.control.spec import EndpointSpec, Spec
from penstock.control.store import Store
from penstock.core.errors import Conflict, NotFound, Refused
from penstock.core.names import parse_version_ref
from penstock.core.routes import Endpoint
from penstock.registry import aliases
from penstock.registry.audit import Change
from penstock.registry.versions import find_version
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.state import Rollout, RolloutState
from penstock.security.approvals import needs_approval
from penstock.security.identity import Identity
from penstock.security.permissions import allow


def rollback(store: Store, identity: Identity, endpoint: str, to: int | None, reason: str) -> RolloutRecord:
    """Serve what was served before: while a rollout goes on what it began with, else the last other release, or `to`.

    Raises Forbidden, NotFound (`unknown-endpoint`, `unknown-release`), Conflict (`nothing-to-roll-back`), Refused
    (`version-retired`).
    """
    allow(identity, "apply", endpoint)
    with store.change(identity, reason) as change:
        head = read_head(change.connection, store)
        if endpoint not in head.endpoints or head.spec is None:
            raise NotFound("unknown-endpoint", f"no endpoint {endpoint[:80]!r}", hint="penstock status")
        record = head.standing.get(endpoint)
        if to is None and record is not None and record.going:
            number = record.id
            rollouts.obey_in(change, store, record, "abort", identity)
        else:
            release = _wanted(change.connection, head.endpoints[endpoint], endpoint, to)
            number = _go_back(change, store, head, release)
    return rollouts.read(store, number)


def read_releases(store: Store, endpoint: str) -> list[Release]:
    """What an endpoint was, the newest first; empty for one that never was."""
    with store.database.read() as connection:
        return _releases(connection, endpoint)


def previous_of(connection: Connection, store: Store, endpoint: str, served: Endpoint) -> Endpoint | None:
    """What a rollback would bring back; None where there is nothing."""
    found = _previous(connection, endpoint, served)
    return None if found is None else _content(connection, store, found)


def _wanted(connection: Connection, served: Endpoint, endpoint: str, to: int | None) -> Release:
    if to is None:
        found = _previous(connection, endpoint, served)
        if found is None:
            raise Conflict("nothing-to-roll-back", f"{endpoint} never served anything else", hint="penstock releases")
        return found
    for release in _releases(connection, endpoint):
        if release.generation == to and release.content is not None:
            return release
    raise NotFound("unknown-release", f"{endpoint} has no release {to}", hint=f"penstock releases {endpoint}")


def _previous(connection: Connection, endpoint: str, served: Endpoint) -> Release | None:
    """The newest release with other versions, or other settings, than are served."""
    earlier = _releases(connection, endpoint)[1:]
    return next((one for one in earlier if one.content is not None and _differs(one.content, served)), None)


def _differs(one: Endpoint, served: Endpoint) -> bool:
    return without_address(one) != without_address(served)


def _releases(connection: Connection, endpoint: str) -> list[Release]:
    query = select(releases).where(releases.c.endpoint == endpoint).order_by(releases.c.generation.desc())
    return [
        Release(
            endpoint=endpoint,
            generation=row.generation,
            content=msgspec.json.decode(row.content, type=Endpoint | None),
            created_at=row.created_at,
            created_by=row.created_by,
        )
        for row in connection.execute(query)
    ]


def _content(connection: Connection, store: Store, release: Release) -> Endpoint:
    """The endpoint as nodes need it; raises Refused (`version-retired`)."""
    assert release.content is not None  # noqa: S101 - callers choose among those that have one
    for one in loaded(release.content):
        ref = parse_version_ref(one.version)
        if ref.number is not None and find_version(connection, ref.name, ref.number).retired:
            raise Refused("version-retired", f"{one.version} is retired", hint=f"penstock retire {one.version} --undo")
    return with_addresses(connection, store, {"": release.content})[""]


def _go_back(change: Change, store: Store, head: Head, release: Release) -> int:
    name = release.endpoint
    content = _content(change.connection, store, release)
    left = head.wanted[name]
    if name in head.standing:
        _end(change, head.standing[name])
    spec, moves = _restored(change, head, release)
    generation = write_applied(change, head, spec, {**head.endpoints, name: content})
    number = rollout_rows.next_number(change.connection)
    text = f"rolled back to release {release.generation} by {change.actor}"
    state = RolloutState(
        phase="finishing", end="rolled-back", since=rollouts.seconds_of(change.time), reason=text, generation=generation
    )
    # Tried again, it takes over as the endpoint says.
    plan = spec.endpoints[name].rollout or RolloutPlan(strategy="all-at-once")
    rollout = Rollout(endpoint=name, plan=plan, before=content, after=left, seed=f"{name}:{number}", state=state)
    rollout_rows.create(change, number, rollout, moves, text)
    return number


def _end(change: Change, record: RolloutRecord) -> None:
    """A rollout that goes on is over: what it began with is served no more."""
    if not record.going:
        rollout_rows.give_up(change, record)
        return
    reason = f"rolled back further by {change.actor}"
    state = msgspec.structs.replace(record.rollout.state, phase="ended", end="aborted", hold="", reason=reason)
    rollout_rows.write(change, record, state, record.judgement, f"aborted: {reason}", standing=False)


def _restored(change: Change, head: Head, release: Release) -> tuple[Spec, tuple[AliasMove, ...]]:
    """The spec with the endpoint's gates of then, and the moves of aliases that this takes back.

    The spec goes on saying what was wished for, so that whoever applies it again, or changes another endpoint, brings
    back nothing. An alias goes back with the endpoint unless it is protected: then two people move it.
    """
    assert head.spec is not None and release.content is not None  # noqa: S101 - checked by the caller
    query = select(generations.c.spec).where(generations.c.generation == release.generation)
    then = msgspec.json.decode(change.connection.execute(query).scalar_one(), type=Spec)
    name = release.endpoint
    about = then.endpoints.get(name, EndpointSpec(model=release.content.arms[0].version))
    moves = []
    for (_, ref, _), arm in zip(arms_of(about, name), release.content.arms, strict=False):
        number = parse_version_ref(arm.version).number
        if ref.alias is None or number is None or needs_approval(ref.alias, head.spec.protected_aliases):
            continue
        now = aliases.read_aliases(change.connection, ref.name).get(ref.alias)
        aliases.set_alias(change, ref.name, ref.alias, number, None)
        if now is not None and now != number:
            moves.append(AliasMove(model=ref.name, alias=ref.alias, before=number, after=now, protected=False))
    replace = msgspec.structs.replace
    kept = replace(head.spec.endpoints.get(name, about), gates=about.gates)
    return replace(head.spec, endpoints={**head.spec.endpoints, name: kept}), tuple(moves)
