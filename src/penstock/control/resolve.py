"""What a spec means now: its references as version numbers and digests. Pure, on what was read of the registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import msgspec
from sqlalchemy import Connection, select

from penstock.control.meaning import arms_of, shadows_of
from penstock.control.records import AliasMove
from penstock.control.spec import EndpointSpec, Spec
from penstock.core.digest import PREFIX, canonical_json
from penstock.core.errors import NotFound, Refused
from penstock.core.names import VersionRef
from penstock.core.routes import FORMAT, Arm, Endpoint, RouteDocument, Shadow, read_routes
from penstock.registry.schema import aliases, versions
from penstock.security.approvals import needs_approval


class KnownVersion(msgspec.Struct, frozen=True):
    """What a route document needs of a version."""

    digest: str
    uri: str
    retired: bool = False


class KnownModel(msgspec.Struct, frozen=True):
    """A model's versions by number, and its aliases."""

    versions: dict[int, KnownVersion]
    aliases: dict[str, int]


class Resolved(msgspec.Struct, frozen=True):
    """What would be served, which aliases would move, and what somebody should know."""

    endpoints: dict[str, Endpoint]
    moves: tuple[AliasMove, ...]
    warnings: tuple[str, ...]


def read_known(connection: Connection, uri: Callable[[str], str]) -> dict[str, KnownModel]:
    """Every model, read with one query each for versions and aliases."""
    known: dict[str, KnownModel] = {}
    query = select(versions.c.model, versions.c.number, versions.c.digest, versions.c.blob, versions.c.retired)
    for row in connection.execute(query):
        model = known.setdefault(row.model, KnownModel({}, {}))
        model.versions[row.number] = KnownVersion(row.digest, uri(row.blob), bool(row.retired))
    for row in connection.execute(select(aliases)):
        known[row.model].aliases[row.alias] = row.number
    return known


def with_bundles(known: Mapping[str, KnownModel], spec: Spec) -> dict[str, KnownModel]:
    """As it will be once the spec's bundles, named by digest, are registered: unknown ones get the next number."""
    after = dict(known)
    for name, about in spec.models.items():
        model = after.get(name, KnownModel({}, {}))
        if about.bundle and not any(version.digest == about.bundle for version in model.versions.values()):
            number = max(model.versions, default=0) + 1
            after[name] = KnownModel({**model.versions, number: KnownVersion(about.bundle, "")}, model.aliases)
    return after


def resolve(spec: Spec, known: Mapping[str, KnownModel], protected: Collection[str]) -> Resolved:
    """Move the spec's aliases, then find what each arm serves; `protected` are the aliases that need four eyes.

    Raises NotFound (`unknown-model`, `unknown-version`, `unknown-alias`), Refused (`version-retired`) or InvalidInput
    (`invalid-routes`).
    """
    moves = _moves(spec, known, protected)
    moved = dict(known)
    for move in moves:
        model = moved[move.model]
        moved[move.model] = KnownModel(model.versions, {**model.aliases, move.alias: move.after})
    endpoints = {name: _endpoint(name, about, moved) for name, about in sorted(spec.endpoints.items())}
    # Through the reader: whatever a node would refuse is refused here, before anybody is told.
    checked = read_routes(canonical_json(RouteDocument(format=FORMAT, generation=0, endpoints=endpoints)))
    return Resolved(checked.endpoints, moves, tuple(_warnings(spec, moved)))


def _moves(spec: Spec, known: Mapping[str, KnownModel], protected: Collection[str]) -> tuple[AliasMove, ...]:
    moves = []
    for name, about in sorted(spec.models.items()):
        for alias, target in sorted(about.aliases.items()):
            model = _model(known, name, f"models.{name}")
            number = _number_of(model, about.bundle) if target == "bundle" else target
            _version(known, VersionRef(name, number), f"models.{name}.aliases.{alias}")
            before = model.aliases.get(alias)
            if before != number:
                guarded = needs_approval(alias, protected)
                moves.append(AliasMove(model=name, alias=alias, before=before, after=number, protected=guarded))
    return tuple(moves)


def _number_of(model: KnownModel, digest: str) -> int:
    return next(number for number, version in model.versions.items() if version.digest == digest)


def _endpoint(name: str, about: EndpointSpec, known: Mapping[str, KnownModel]) -> Endpoint:
    arms = []
    for given, ref, weight in arms_of(about, f"endpoints.{name}"):
        number, version = _version(known, ref, f"endpoints.{name}")
        arms.append(
            Arm(
                name=given or f"v{number}",
                version=f"{ref.name}/{number}",
                bundle=version.digest,
                uri=version.uri,
                weight=weight,
            )
        )
    shadows = []
    for shadow, ref in shadows_of(about, f"endpoints.{name}"):
        number, version = _version(known, ref, f"endpoints.{name}")
        shadows.append(
            Shadow(
                name=shadow.name or ref.alias or f"v{number}",
                version=f"{ref.name}/{number}",
                bundle=version.digest,
                uri=version.uri,
                sample=round(shadow.share * 100),
                max_pending_calls=shadow.max_pending_calls,
                budget=shadow.budget,
            )
        )
    return Endpoint(
        arms=tuple(arms),
        shadows=tuple(shadows),
        unit=about.unit,
        seed=about.seed,
        rules=about.rules,
        limits=about.limits,
        isolation=about.isolation,
        cache=about.cache,
        recording=about.recording,
        default=about.default,
    )


def _version(known: Mapping[str, KnownModel], ref: VersionRef, path: str) -> tuple[int, KnownVersion]:
    model = _model(known, ref.name, path)
    number = ref.number
    if ref.alias is not None:
        number = model.aliases.get(ref.alias)
        if number is None:
            raise NotFound(
                "unknown-alias", f"{path}: model {ref.name!r} has no alias {ref.alias!r}", hint=_known(model)
            )
    elif number is None:
        number = max((number for number, version in model.versions.items() if not version.retired), default=0)
    version = model.versions.get(number)
    if version is None:
        raise NotFound("unknown-version", f"{path}: there is no {ref}", hint=f"penstock list {ref.name}")
    if version.retired:
        raise Refused(
            "version-retired",
            f"{path}: {ref.name}/{number} is retired",
            hint=f"penstock retire {ref.name}/{number} --undo",
        )
    return number, version


def _model(known: Mapping[str, KnownModel], name: str, path: str) -> KnownModel:
    if name not in known:
        raise NotFound(
            "unknown-model", f"{path}: there is no model {name!r}", hint=f"models.{name}.bundle, or penstock register"
        )
    return known[name]


def _known(model: KnownModel) -> str:
    return f"it has {', '.join(sorted(model.aliases)) or 'none'}"


def _warnings(spec: Spec, known: Mapping[str, KnownModel]) -> list[str]:
    found = []
    for name, about in sorted(spec.models.items()):
        served = {ref.name for endpoint in spec.endpoints.values() for _, ref, _ in arms_of(endpoint, "")}
        if about.bundle.startswith(PREFIX) and name not in served:
            found.append(f"models.{name}: no endpoint serves it")
    for name, endpoint in sorted(spec.endpoints.items()):
        for _, ref, weight in arms_of(endpoint, ""):
            if weight == 0:
                found.append(f"endpoints.{name}: {ref} gets no traffic, but costs memory")
            if ref.number is None and ref.alias is None:
                found.append(f"endpoints.{name}: {ref} is the newest version at the moment of each apply")
    return found
