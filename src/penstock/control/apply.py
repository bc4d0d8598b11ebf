"""Apply: from a wish to a generation. Begin, judge, then conclude in one transaction; each may be repeated.

begin      bundles registered, the plan checked, the wish written down          -> pending
judge      one report after the other, each kept as soon as it is there         -> running
conclude   somebody applied in between? a gate failed? somebody must agree?     -> failed | waiting-approval
           else aliases, releases, rollouts and the generation, all or nothing  -> done
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from penstock.control import approvals, checks, gate_files, operations, rollout_rows, rollouts
from penstock.control.addresses import loaded
from penstock.control.checks import Judge
from penstock.control.looking import refuse_unable
from penstock.control.meaning import arms_of, check_meaning
from penstock.control.plan import bundle_path, pin, plan_in
from penstock.control.records import AliasMove, Check, Operation, Plan
from penstock.control.resolve import Resolved
from penstock.control.routing import Head, write_applied
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.errors import Conflict, NotFound, Refused
from penstock.core.routes import Endpoint
from penstock.registry import aliases
from penstock.registry.audit import Change
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What an apply was asked to do, and by whom; the whole of what is needed to go on after a crash."""

    spec: Spec
    expected: int
    endpoints: dict[str, Endpoint]
    moves: tuple[AliasMove, ...]
    checks: tuple[Check, ...]
    identity: Identity


def begin(
    store: Store, spec: Spec, identity: Identity, expected: int | None, reason: str, base: Path | None
) -> Operation:
    """A pending operation; raises Conflict (`generation-moved`), Forbidden, and what `plan` raises."""
    # Also of a spec that was no file: made by a call, it must mean as much.
    check_meaning(spec, "the spec")
    pinned = pin(store, spec, base)
    with store.database.read() as connection:
        plan, _, head = plan_in(connection, store, pinned)
    _check_generation(head, expected)
    _allow(identity, plan)
    _refuse_untimely(store, head, plan, spec)
    _register(store, spec, identity, reason, base)
    with store.change(identity, reason) as change:
        # Again, because the versions have their numbers now.
        plan, resolved, head = plan_in(change.connection, store, pinned)
        _check_generation(head, expected)
        _allow(identity, plan)
        _refuse_unregistered(plan)
        for gates in (pinned.gates, *(about.gates for about in pinned.endpoints.values())):
            gate_files.check_stored(change.connection, gates)
        wish = Wish(
            spec=pinned,
            expected=head.generation if expected is None else expected,
            endpoints=resolved.endpoints,
            moves=plan.aliases,
            checks=plan.checks,
            identity=identity,
        )
        number = operations.create(change, "apply", wish)
        return operations.read_in(change.connection, number)[0]


def go_on(store: Store, number: int, request: msgspec.Raw, decide: Judge, tell: operations.Tell) -> None:
    """Judge what was not judged, then conclude; raises what judging does, and what ends the operation."""
    operation = operations.read(store, number)
    wish = msgspec.json.decode(request, type=Wish)
    _judge(store, operation, wish, decide, tell)
    with store.change(wish.identity, operation.reason) as change:
        _conclude(store, change, number, wish)


def _judge(store: Store, operation: Operation, wish: Wish, decide: Judge, tell: operations.Tell) -> None:
    for check in wish.checks:
        gates = checks.gates_of(wish.spec, check.endpoint)
        with store.database.read() as connection:
            if checks.with_verdict(connection, check, gates, operation.created_at).verdict is not None:
                continue
        tell(operations.note(store, operation.id, f"checking {check.version} for {check.endpoint}"))
        limits = wish.endpoints[check.endpoint].limits
        report = checks.judge(store, store.registry(wish.identity), gates, check, limits, decide)
        checks.keep(store, wish.identity, check, report)
        tell(operations.note(store, operation.id, f"{check.version} for {check.endpoint}: {report.verdict}"))


def _conclude(store: Store, change: Change, number: int, wish: Wish) -> None:
    operation, _ = operations.read_in(change.connection, number)
    if operation.state not in ("pending", "running"):
        # Another process concluded it.
        return
    plan, resolved, head = plan_in(change.connection, store, wish.spec)
    _check_generation(head, wish.expected)
    _check_unmoved(wish, plan, resolved)
    _allow(wish.identity, plan)
    _refuse_untimely(store, head, plan, wish.spec)
    because = [*_questions(change, wish), *(f"the alias {alias} loses its protection" for alias in plan.unprotected)]
    if because and not _approved(change, operation):
        _ask(change, operation, wish, plan, because)
        return
    if plan.empty:
        operations.move(change, number, "done", "nothing to change", generation=head.generation)
        return
    rolling = _rolling(head, plan, wish.spec)
    waiting = {move for wanted in rolling.values() for move in wanted.moves}
    for move in wish.moves:
        if move not in waiting:
            aliases.set_alias(change, move.model, move.alias, move.after, move.before or "absent", approved=True)
    endpoints, text = _endpoints(change, head, plan, rolling)
    generation = write_applied(change, head, wish.spec, endpoints, rolling)
    operations.move(change, number, "done", f"generation {generation}{text}", generation=generation)


def _rolling(head: Head, plan: Plan, spec: Spec) -> dict[str, rollouts.Wanted]:
    """The rollouts to be begun, with the aliases that their endpoints follow."""
    found = {}
    after = {change.endpoint: change.after for change in plan.changes}
    for name in plan.rollouts:
        about, wanted = spec.endpoints[name], after[name]
        named = {(ref.name, ref.alias) for _, ref, _ in arms_of(about, name)}
        moves = tuple(move for move in plan.aliases if (move.model, move.alias) in named)
        if about.rollout is not None and wanted is not None:
            found[name] = rollouts.Wanted(plan=about.rollout, before=head.endpoints[name], after=wanted, moves=moves)
    return found


def _endpoints(
    change: Change, head: Head, plan: Plan, rolling: dict[str, rollouts.Wanted]
) -> tuple[dict[str, Endpoint], str]:
    """What is served from now on, and what is told of it. Rollouts that led elsewhere are given up."""
    served, told = dict(head.endpoints), ""
    for one in plan.changes:
        if one.what == "unchanged":
            continue
        if one.endpoint in head.standing:
            rollout_rows.give_up(change, head.standing[one.endpoint])
        if one.endpoint in rolling:
            wanted = rolling[one.endpoint]
            served[one.endpoint] = rollouts.begin(change, one.endpoint, wanted, head.generation + 1)
            told += f"; {one.endpoint}: {wanted.plan.strategy} to {wanted.after.arms[0].version} begins"
        elif one.after is not None:
            served[one.endpoint] = one.after
        else:
            del served[one.endpoint]
    return served, told


def _refuse_untimely(store: Store, head: Head, plan: Plan, spec: Spec) -> None:
    """Raise for a change of an endpoint that may not be now: Conflict (`rollout-running`), Refused (`frozen`).

    And Unsupported (`missing-extra`) for a rollout that this control could not judge.
    """
    changed = [one.endpoint for one in plan.changes if one.what != "unchanged"]
    for endpoint in changed:
        rollouts.refuse_running(head, endpoint)
    if changed:
        rollouts.refuse_frozen(head, store)
    if any(spec.endpoints[one].rollout is not None for one in changed if one in spec.endpoints):
        refuse_unable()


def _questions(change: Change, wish: Wish) -> list[str]:
    """Why somebody must agree; raises Refused (`gate-failed`) where nobody can."""
    because = []
    for check in wish.checks:
        report = checks.find_report(change.connection, check)
        verdict, reasons = report.verdict if report is not None else None, checks.reasons(change.connection, check)
        if verdict == "fail":
            raise Refused(
                "gate-failed",
                f"{check.version} may not serve {check.endpoint}: {reasons}",
                hint="nothing was changed; mend the model, or the gates of this endpoint",
            )
        if verdict != "pass":
            because.append(f"{check.version} for {check.endpoint} is inconclusive: {reasons}")
    moved = [move for move in wish.moves if move.protected]
    return because + [f"the alias {move.model}@{move.alias} is protected" for move in moved]


def _approved(change: Change, operation: Operation) -> bool:
    number = operation.approval
    return number is not None and approvals.read_in(change.connection, number).state == "approved"


def _ask(change: Change, operation: Operation, wish: Wish, plan: Plan, because: list[str]) -> None:
    touched = [one.endpoint for one in plan.changes if one.what != "unchanged"]
    approval = approvals.request(
        change,
        kind="apply",
        subject=f"operation {operation.id}",
        wanted={"operation": operation.id, "endpoints": touched, "moves": wish.moves},
        because=because,
        four_eyes=bool(plan.unprotected) or any(move.protected for move in wish.moves),
        requester=wish.identity.subject,
        operation=operation.id,
    )
    operations.move(
        change,
        operation.id,
        "waiting-approval",
        f"waits for approval {approval}: {'; '.join(because)}",
        approval=approval,
    )


def _check_generation(head: Head, expected: int | None) -> None:
    if expected is not None and head.spec_generation > expected:
        raise Conflict(
            "generation-moved",
            f"somebody applied generation {head.spec_generation} after {expected}, which this was planned against",
            hint="look at the difference (penstock plan) and apply again",
        )


def _check_unmoved(wish: Wish, plan: Plan, resolved: Resolved) -> None:
    if resolved.endpoints != wish.endpoints or plan.aliases != wish.moves:
        raise Conflict(
            "generation-moved",
            "an alias or a version that the spec names changed since it was planned",
            hint="look at the difference (penstock plan) and apply again",
        )


def _allow(identity: Identity, plan: Plan) -> None:
    touched = [*(change.endpoint for change in plan.changes if change.what != "unchanged"), *plan.plans]
    if plan.settings or any(move.protected for move in plan.aliases):
        touched.append("")
    for endpoint in touched:
        allow(identity, "apply", endpoint)
    # Whoever changes nothing still needs the role.
    allow(msgspec.structs.replace(identity, endpoints=None), "apply")


def _register(store: Store, spec: Spec, identity: Identity, reason: str, base: Path | None) -> None:
    for name, about in spec.models.items():
        path = bundle_path(about.bundle, f"models.{name}", base)
        if path is not None:
            store.registry(identity).register(path, name=name, reason=reason)


def _refuse_unregistered(plan: Plan) -> None:
    for change in plan.changes:
        for arm in loaded(change.after) if change.after is not None else ():
            if not arm.uri:
                raise NotFound(
                    "unknown-bundle", f"{arm.bundle} is not registered as {arm.version}", hint="penstock register"
                )
