"""Judging once more what is served, its golden rows alone or all gates, and what a rollback would bring back.

A model does not change; where it runs does.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.control import checks
from penstock.control.checks import Judge
from penstock.control.records import Check
from penstock.control.rollback import previous_of
from penstock.control.routing import read_head
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.errors import PenstockError, Refused
from penstock.core.routes import Endpoint
from penstock.core.verdicts import Verdict
from penstock.gates.plan import GatePlan
from penstock.security.identity import Identity

GOLDEN_ALONE = GatePlan(schema=False, robustness=False, budget=False)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A served version and what was found; `code` is the error's where nobody could judge, and nothing was kept."""

    endpoint: str
    version: str
    verdict: Verdict
    reasons: str = ""
    code: str = ""


def judge_served(store: Store, identity: Identity, decide: Judge, *, golden_alone: bool) -> list[Judged]:
    """Judge every served version on every endpoint, keep each report, and change nothing of what is served.

    Challengers are judged against the champion. What cannot be judged is inconclusive, and ends no other. Raises
    Unavailable when the database is away.
    """
    with store.database.read() as connection:
        head = read_head(connection, store)
    if head.spec is None:
        return []
    spec = _with_golden_alone(head.spec) if golden_alone else head.spec
    judged = []
    for name, endpoint in head.endpoints.items():
        gates = checks.gates_of(spec, name)
        if not gates.gates():
            continue
        served = checks.champion_of(endpoint)
        # Two arms of one version are one check.
        for version, bundle in {arm.version: arm.bundle for arm in endpoint.arms}.items():
            champion = served if served is not None and version != served.version else None
            check = Check(
                endpoint=name,
                version=version,
                bundle=bundle,
                champion=champion.version if champion is not None else "",
                plan_digest=checks.digest_of_gates(
                    gates, champion.bundle if champion is not None else "", endpoint.limits
                ),
            )
            judged.append(_judge(store, identity, gates, check, endpoint, decide))
    return judged


def rehearse_rollback(store: Store, identity: Identity, decide: Judge) -> list[Judged]:
    """Load what each endpoint would go back to, and replay its golden rows; the reports are kept.

    A release that cannot come back (a version is retired) is inconclusive, with the reason.
    """
    with store.database.read() as connection:
        head = read_head(connection, store)
    return [
        judged for name, served in head.endpoints.items() for judged in _rehearse(store, identity, decide, name, served)
    ]


def rehearsal_checks(name: str, before: Endpoint | None) -> list[Check]:
    """What a rehearsal judges of the release that an endpoint would go back to."""
    if before is None:
        return []
    plan = checks.digest_of_gates(GOLDEN_ALONE, "", before.limits)
    bundles = {arm.version: arm.bundle for arm in before.arms}
    return [
        Check(endpoint=name, version=version, bundle=bundle, champion="", plan_digest=plan)
        for version, bundle in bundles.items()
    ]


def _rehearse(store: Store, identity: Identity, decide: Judge, name: str, served: Endpoint) -> Iterator[Judged]:
    try:
        with store.database.read() as connection:
            before = previous_of(connection, store, name, served)
    except Refused as error:
        yield Judged(endpoint=name, version="", verdict="inconclusive", reasons=str(error), code=error.code)
        return
    for check in rehearsal_checks(name, before):
        yield _judge(store, identity, GOLDEN_ALONE, check, before or served, decide)


def _judge(
    store: Store, identity: Identity, gates: GatePlan, check: Check, endpoint: Endpoint, decide: Judge
) -> Judged:
    try:
        report = checks.judge(store, store.registry(identity), gates, check, endpoint.limits, decide)
        checks.keep(store, identity, check, report)
    except PenstockError as error:
        return Judged(
            endpoint=check.endpoint,
            version=check.version,
            verdict="inconclusive",
            reasons=str(error),
            code=error.code,
        )
    reasons = "; ".join(f"{one.gate}: {one.summary}" for one in report.findings if one.verdict != "pass")
    return Judged(endpoint=check.endpoint, version=check.version, verdict=report.verdict, reasons=reasons)


def _with_golden_alone(spec: Spec) -> Spec:
    replace = msgspec.structs.replace
    endpoints = {name: replace(about, gates=None) for name, about in spec.endpoints.items()}
    return replace(spec, gates=GOLDEN_ALONE, endpoints=endpoints)
