"""Judging what is served once more: its golden rows alone, or all gates.

A model does not change; where it runs does.
"""

from __future__ import annotations

import msgspec

from penstock.control import checks
from penstock.control.checks import Judge
from penstock.control.records import Check
from penstock.control.routing import read_head
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.errors import PenstockError
from penstock.core.routes import Endpoint
from penstock.core.verdicts import Verdict
from penstock.gates.plan import GatePlan
from penstock.security.identity import Identity

_GOLDEN_ALONE = GatePlan(schema=False, robustness=False, budget=False)


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
    return replace(spec, gates=_GOLDEN_ALONE, endpoints=endpoints)
