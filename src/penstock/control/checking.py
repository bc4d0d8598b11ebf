"""Gates on a registered version because somebody asks, not because it is to be served: an operation like an apply."""

from __future__ import annotations

import msgspec

from penstock.control import checks, gate_files, operations
from penstock.control.checks import Judge
from penstock.control.records import Check, Operation
from penstock.control.routing import read_head
from penstock.control.store import Store
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.routes import Limits
from penstock.core.verdicts import Report
from penstock.gates.plan import GatePlan, with_files
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class CheckWish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which version to judge, `against` which champion, for which endpoint, by which gates.

    Versions are `churn`, `churn/7` or `churn@champion`. An endpoint that is served lends its limits.
    """

    version: str
    against: str = ""
    endpoint: str = ""
    gates: GatePlan = GatePlan()
    reason: str = ""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of what is needed to go on after a crash."""

    check: Check
    gates: GatePlan
    limits: Limits
    identity: Identity


def begin(store: Store, wish: CheckWish, identity: Identity) -> Operation:
    """A pending operation; raises Forbidden, NotFound, and InvalidInput for gates that cannot be meant."""
    allow(identity, "check", wish.endpoint)
    gates = with_files(wish.gates, lambda name: checks.located(name, None, store.home))
    if not gates.gates():
        raise InvalidInput("invalid-gates", "no gate is asked for", hint="leave out what is false")
    registry = store.registry(identity)
    found = registry.resolve(wish.version)
    champion = registry.resolve(wish.against) if wish.against else None
    with store.change(identity, wish.reason) as change:
        gate_files.check_stored(change.connection, gates)
        served = read_head(change.connection, store).endpoints.get(wish.endpoint)
        limits = served.limits if served is not None else checks.USUAL
        check = Check(
            endpoint=wish.endpoint,
            version=found.ref,
            bundle=found.digest,
            champion=champion.ref if champion is not None else "",
            plan_digest=checks.digest_of_gates(gates, champion.digest if champion is not None else "", limits),
        )
        order = Order(check=check, gates=gates, limits=limits, identity=identity)
        return operations.read_in(change.connection, operations.create(change, "check", order))[0]


def go_on(store: Store, number: int, request: msgspec.Raw, decide: Judge, tell: operations.Tell) -> None:
    """Judge, and keep the report with the version; raises what judging does."""
    order = msgspec.json.decode(request, type=Order)
    tell(operations.note(store, number, f"checking {order.check.version}"))
    registry = store.registry(order.identity)
    report = checks.judge(store, registry, order.gates, order.check, order.limits, decide)
    checks.keep(store, order.identity, order.check, report)
    with store.change(order.identity) as change:
        if not operations.read_in(change.connection, number)[0].ended:
            operations.move(change, number, "done", f"{order.check.version}: {report.verdict}")


def read_report(store: Store, number: int) -> Report:
    """What the gates of a check found; raises NotFound (`unknown-operation`, `no-report`)."""
    with store.database.read() as connection:
        operation, request = operations.read_in(connection, number)
        if operation.kind == "check" and operation.state == "done":
            report = checks.find_report(connection, msgspec.json.decode(request, type=Order).check)
            if report is not None:
                return report
    raise NotFound("no-report", f"operation {number} has no report", hint="wait until it is done, if it is a check")
