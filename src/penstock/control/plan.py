"""The plan: what a spec would change, what would have to pass, and who would have to agree. Changes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
from sqlalchemy import Connection

from penstock.bundle.bundle import open_bundle
from penstock.control import checks
from penstock.control.difference import compare, compare_plans, compare_settings
from penstock.control.records import Change, Plan
from penstock.control.resolve import Resolved, read_known, resolve, with_bundles
from penstock.control.routing import Head, digest_of_spec, read_head
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.digest import PREFIX
from penstock.core.errors import InvalidInput, NotFound


def make_plan(store: Store, spec: Spec, base: Path | None) -> Plan:
    """The difference; raises what `pin` and `resolve` raise."""
    pinned = pin(store, spec, base)
    with store.database.read() as connection:
        return plan_in(connection, store, pinned)[0]


def plan_in(connection: Connection, store: Store, spec: Spec) -> tuple[Plan, Resolved, Head]:
    """The plan of a pinned spec, as this transaction sees things, with what it was made of."""
    head = read_head(connection, store)
    # Of both specs: nobody takes the protection away and moves the alias in one step.
    protected = {*spec.protected_aliases, *(head.spec.protected_aliases if head.spec is not None else ())}
    resolved = resolve(spec, with_bundles(read_known(connection, store.blobs.uri), spec), protected)
    changes = compare(head.endpoints, head.wanted, resolved.endpoints)
    held = {move for record in head.standing.values() for move in record.moves}
    plan = Plan(
        generation=head.generation,
        spec_digest=digest_of_spec(spec),
        changes=changes,
        # What a rollout moves at its end is no difference.
        aliases=tuple(move for move in resolved.moves if move not in held),
        checks=tuple(
            checks.with_verdict(connection, check, checks.gates_of(spec, check.endpoint), store.now)
            for check in checks.needed(spec, changes)
        ),
        rollouts=_rollouts(spec, head, changes),
        plans=compare_plans(head.spec, spec),
        settings=compare_settings(head.spec, spec),
        unprotected=tuple(sorted(protected.difference(spec.protected_aliases))),
        warnings=(*resolved.warnings, *_gone_back(head, changes)),
    )
    return plan, resolved, head


def _rollouts(spec: Spec, head: Head, changes: tuple[Change, ...]) -> dict[str, str]:
    """By endpoint, how another version takes over; every other change is made at once."""
    found: dict[str, str] = {}
    for change in changes:
        about = spec.endpoints.get(change.endpoint)
        if change.what != "changed" or about is None or about.rollout is None or change.after is None:
            continue
        if change.after.arms[0].bundle not in {arm.bundle for arm in head.endpoints[change.endpoint].arms}:
            found[change.endpoint] = about.rollout.strategy
    return found


def _gone_back(head: Head, changes: tuple[Change, ...]) -> list[str]:
    """What is asked for again, although it was tried and is not served."""
    told = []
    for change in changes:
        record = head.standing.get(change.endpoint)
        if change.what == "unchanged" and record is not None and not record.going:
            version, state = record.rollout.after.arms[0].version, record.rollout.state
            told.append(
                f"endpoints.{change.endpoint}: {version} is not served: rollout {record.id} was {state.end}:"
                f" {state.reason}; penstock rollout retry {change.endpoint}"
            )
    return told


def pin(store: Store, spec: Spec, base: Path | None) -> Spec:
    """The spec with bundles by digest instead of by path, so that it means the same tomorrow and on every machine.

    Raises InvalidInput (`local-bundle`, `local-file`) for paths of a spec without `base`, and what `open_bundle` does.
    """
    models = {}
    for name, about in spec.models.items():
        path = bundle_path(about.bundle, f"models.{name}", base)
        if path is not None:
            about = msgspec.structs.replace(about, bundle=open_bundle(path, store.home / "bundles").digest)
        models[name] = about
    return checks.with_places(msgspec.structs.replace(spec, models=models), base, store.home)


def bundle_path(text: str, path: str, base: Path | None) -> Path | None:
    """Where a spec's bundle lies; None where there is none, or it is named by digest."""
    if not text or text.startswith(PREFIX):
        return None
    if base is None:
        raise InvalidInput(
            "local-bundle",
            f"{path}.bundle: {text[:200]!r} is a file of another machine",
            hint="register it, and name the version's digest",
        )
    found = base / text
    if not found.exists():
        raise NotFound(
            "unknown-bundle", f"{path}.bundle: there is no bundle at {found}", hint="penstock pack makes one"
        )
    return found
