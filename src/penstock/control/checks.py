"""Gates before a version is served: which reports are needed, which are there, how a missing one is made."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select

from penstock.bundle.bundle import Bundle
from penstock.control import gate_files
from penstock.control.records import Change as EndpointChange
from penstock.control.records import Check
from penstock.control.schema import gate_reports
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.digest import canonical_json, digest_of, digest_of_file
from penstock.core.errors import InvalidInput, PenstockError
from penstock.core.names import parse_version_ref
from penstock.core.routes import Arm, Endpoint, Limits
from penstock.core.verdicts import Report, report_json
from penstock.gates.candidate import open_candidate
from penstock.gates.plan import GatePlan, files_of, with_files
from penstock.gates.run import run_gates
from penstock.predlog.table_views import open_places
from penstock.registry.registry import Registry
from penstock.runtime.environment import build, python_for
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One version to be judged for one endpoint; `champion` is what has most of its traffic now."""

    version: str
    candidate: Bundle
    champion: Bundle | None
    endpoint: str
    limits: Limits
    gates: GatePlan
    home: Path


Judge = Callable[[Case], Report]
USUAL = Limits()


def run_gates_here(case: Case, *, log_address: str = "", allow_pickle: bool = False) -> Report:
    """Run the gates on this machine, each model in a process of its own, in its own environment.

    `log_address` is where the table of the prediction log is, by default in the home; a replay reads it.
    """
    for bundle in (case.candidate, case.champion):
        if bundle is not None:
            _ensure_environment(bundle, case.home)
    opened = open_candidate(
        case.candidate,
        case.home,
        champion=case.champion,
        endpoint=case.endpoint,
        limits=case.limits,
        log=open_places(case.home, log_address) if case.gates.replay is not None else None,
        allow_pickle=allow_pickle,
    )
    with opened as candidate:
        return run_gates(candidate, case.gates)


def _ensure_environment(bundle: Bundle, home: Path) -> None:
    """Build what the bundle's process needs, unless it is here; the node of this home builds none."""
    manifest = bundle.manifest
    if manifest.holds_no_code:
        return
    requirements = bundle.path(manifest.environment.requirements).read_text()
    wheels = bundle.directory / manifest.environment.wheels if manifest.environment.wheels else None
    try:
        python_for(manifest.environment, requirements, home)
    except PenstockError:
        # What cannot be built is what each gate then finds, with the reason.
        with suppress(PenstockError):
            build(manifest.environment, requirements, home, wheels)


def gates_of(spec: Spec, endpoint: str) -> GatePlan:
    """What a version must pass on this endpoint: its own gates, else the spec's, else those that need no data."""
    about = spec.endpoints.get(endpoint)
    own = about.gates if about is not None else None
    return own or spec.gates or GatePlan()


def digest_of_gates(gates: GatePlan, champion: str, limits: Limits) -> str:
    """What a report is good for: the same gates and files, the same champion (its digest), the same limits."""
    files = {name: digest_of_file(Path(name)) if Path(name).is_file() else "" for name in files_of(gates)}
    return digest_of(canonical_json({"gates": gates, "files": files, "champion": champion, "limits": limits}))


def with_places(spec: Spec, base: Path | None, home: Path) -> Spec:
    """The spec with absolute paths in its gates: from `base`, else from `gates` in the home and not beyond it.

    What is named by its digest stays so.

    Without a base the spec came from another machine: it must not name what it likes of this one's files, some of
    which are run. Raises InvalidInput (`local-file`).
    """
    return rename_files(spec, lambda name: located(name, base, home))


def rename_files(spec: Spec, rename: Callable[[str], str]) -> Spec:
    """The spec with another name for each file that its gates read."""

    def renamed(gates: GatePlan | None) -> GatePlan | None:
        return None if gates is None else with_files(gates, rename)

    replace = msgspec.structs.replace
    endpoints = {name: replace(about, gates=renamed(about.gates)) for name, about in spec.endpoints.items()}
    return replace(spec, gates=renamed(spec.gates), endpoints=endpoints)


def needed(spec: Spec, changes: tuple[EndpointChange, ...]) -> list[Check]:
    """A check for every version that is new on its endpoint."""
    checks = {}
    for change in changes:
        gates = gates_of(spec, change.endpoint)
        if change.after is None or not gates.gates():
            continue
        served = {arm.bundle for arm in change.before.arms} if change.before is not None else set()
        champion = champion_of(change.before)
        digest = digest_of_gates(gates, champion.bundle if champion is not None else "", change.after.limits)
        for arm in change.after.arms:
            if arm.bundle not in served:
                # Two arms of one version are one check.
                checks[change.endpoint, arm.version] = Check(
                    endpoint=change.endpoint,
                    version=arm.version,
                    bundle=arm.bundle,
                    champion=champion.version if champion is not None else "",
                    plan_digest=digest,
                )
    return list(checks.values())


def champion_of(endpoint: Endpoint | None) -> Arm | None:
    """The arm with most of the traffic."""
    return max(endpoint.arms, key=lambda arm: arm.weight) if endpoint is not None else None


def with_verdict(connection: Connection, check: Check, gates: GatePlan, since: str) -> Check:
    """The check with the verdict of its stored report, if there is one that counts.

    One made before `since`, when the operation began, does not count where it was inconclusive (what was missing may be
    there now) or held against recorded requests (there are others now).
    """
    row = _find(connection, check)
    if row is None or (row.created_at < since and (row.verdict == "inconclusive" or gates.replay is not None)):
        return check
    return msgspec.structs.replace(check, verdict=row.verdict)


def find_report(connection: Connection, check: Check) -> Report | None:
    """The stored report of a check."""
    row = _find(connection, check)
    return msgspec.json.decode(row.report, type=Report) if row is not None else None


def reasons(connection: Connection, check: Check) -> str:
    """What the stored report found that was no pass, in one line."""
    report = find_report(connection, check)
    found = report.findings if report is not None else ()
    return "; ".join(f"{one.gate}: {one.summary}" for one in found if one.verdict != "pass")


def judge(store: Store, registry: Registry, gates: GatePlan, check: Check, limits: Limits, decide: Judge) -> Report:
    """Run the gates of one check; raises what fetching bundles and files does."""
    cache = store.home / "bundles"
    candidate = registry.fetch(registry.resolve(check.version), cache)
    champion = registry.fetch(registry.resolve(check.champion), cache) if check.champion else None
    with gate_files.fetched(store, gates) as here:
        return decide(
            Case(
                version=check.version,
                candidate=candidate,
                champion=champion,
                endpoint=check.endpoint,
                limits=limits,
                gates=here,
                home=store.home,
            )
        )


def keep_own(
    store: Store, identity: Identity, version: str, gates: GatePlan, report: Report, limits: Limits = USUAL
) -> str:
    """Store a report of a registered version that was made elsewhere, by `penstock check`; an apply may rely on it.

    Raises Forbidden, NotFound, and InvalidInput (`wrong-report`) where the report is of another bundle.
    """
    allow(identity, "check")
    found = store.registry(identity).resolve(version)
    if found.digest != report.bundle:
        raise InvalidInput("wrong-report", f"the report is of {report.bundle}, and {version} is {found.digest}")
    check = Check(
        endpoint=report.endpoint,
        version=found.ref,
        bundle=found.digest,
        champion=report.champion,
        plan_digest=digest_of_gates(gates, report.champion, limits),
    )
    keep(store, identity, check, report)
    return found.ref


def keep(store: Store, identity: Identity, check: Check, report: Report) -> None:
    """Store a report; a newer one of the same gates takes the place of the older."""
    ref = parse_version_ref(check.version)
    key = {"model": ref.name, "number": ref.number, "endpoint": check.endpoint, "plan": check.plan_digest}
    with store.change(identity) as change:
        change.connection.execute(delete(gate_reports).where(*(gate_reports.c[name] == key[name] for name in key)))
        change.connection.execute(
            insert(gate_reports).values(
                **key,
                verdict=report.verdict,
                report=report_json(report).decode(),
                created_at=change.time,
                created_by=change.actor,
            )
        )
        change.record(
            "gates.judged",
            check.version,
            None,
            {
                "endpoint": check.endpoint,
                "plan": check.plan_digest,
                "verdict": report.verdict,
                "report": digest_of(report_json(report)),
            },
        )


def read_reports(store: Store, version: str) -> list[Report]:
    """Every stored report of a version, the newest first."""
    ref = parse_version_ref(version)
    query = select(gate_reports).where(gate_reports.c.model == ref.name, gate_reports.c.number == ref.number)
    with store.database.read() as connection:
        rows = connection.execute(query.order_by(gate_reports.c.created_at.desc()))
        return [msgspec.json.decode(row.report, type=Report) for row in rows]


def _find(connection: Connection, check: Check) -> Row[Any] | None:
    ref = parse_version_ref(check.version)
    query = select(gate_reports).where(
        gate_reports.c.model == ref.name,
        gate_reports.c.number == ref.number,
        gate_reports.c.endpoint == check.endpoint,
        gate_reports.c.plan == check.plan_digest,
    )
    return connection.execute(query).one_or_none()


def located(name: str, base: Path | None, home: Path) -> str:
    """See `with_places`."""
    if gate_files.split_reference(name) is not None:
        return name
    own = (home / "gates").resolve()
    path = ((base if base is not None else own) / name).resolve()
    if base is None and not path.is_relative_to(own):
        raise InvalidInput(
            "local-file", f"{name} is not in the folder of control's own checks", hint=f"put it into {own}"
        )
    return str(path)
