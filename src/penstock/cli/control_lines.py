"""Plans, status, keys and approvals as lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from penstock.cli.answers import counted
from penstock.cli.rollout_lines import rollout_line
from penstock.core.clock import timestamp

if TYPE_CHECKING:
    from penstock.control.records import Approval, Convergence, KeyRecord, NodeRecord, Operation, Plan, Status

_SIGNS = {"created": "+", "changed": "~", "removed": "-", "unchanged": " "}


def plan_lines(plan: Plan) -> Iterator[str]:
    """What would change, what must pass, what somebody should know."""
    for change in plan.changes:
        how = f", by {plan.rollouts[change.endpoint]}" if change.endpoint in plan.rollouts else ""
        yield f"{_SIGNS[change.what]} {change.endpoint:<24} {change.what}{how}"
        for line in change.differences:
            yield f"    {line}"
    for move in plan.aliases:
        guard = "  (protected: somebody else must approve)" if move.protected else ""
        yield f"~ {move.model}@{move.alias:<18} {move.before or 'none'} -> {move.after}{guard}"
    yield from (f"~ {line}" for lines in (*plan.plans.values(), plan.settings) for line in lines)
    for check in plan.checks:
        stored = f"{check.verdict}, by a stored report" if check.verdict else "its gates will run"
        yield f"? {check.version:<24} is new on {check.endpoint}: {stored}"
    yield from (f"! {line}" for line in plan.warnings)
    yield f"nothing to change, generation {plan.generation}" if plan.empty else f"against generation {plan.generation}"


def status_lines(status: Status) -> Iterator[str]:
    """Everything, a thing a line."""
    now = status.generation
    if now is None:
        yield "nothing is applied yet; penstock apply FILE"
    else:
        reason = f"  ({now.reason})" if now.reason else ""
        yield f"generation {now.generation}, {now.created_at} by {now.created_by}{reason}"
    for one in status.endpoints:
        arms = ", ".join(f"{arm.version} {arm.weight / 100:g}%" for arm in one.endpoint.arms)
        yield f"endpoint {one.name:<20} {arms}  since generation {one.since}"
    yield from map(rollout_line, status.rollouts)
    yield from map(node_line, status.nodes)
    if not status.nodes:
        yield "no node was heard of yet"
    for node in status.nodes:
        yield from (f"  {node.name}: {endpoint}: {why}" for endpoint, why in node.problems.items())
    yield from (f"! {line}" for line in status.warnings)
    yield from map(approval_line, status.approvals)
    yield from (operation_line(one) for one in status.operations if not one.ended)
    facts = (counted(status.models, "model"), counted(status.keys, "key"), counted(status.audit_events, "audit event"))
    yield f"{', '.join(facts)}; {status.database}"


def node_line(node: NodeRecord) -> str:
    """One node: whether it serves the current generation."""
    state = "away" if node.away else node.state if node.ready else "not ready"
    generation = f"generation {node.generation}{'' if node.current else ' (behind)'}"
    return f"node     {node.name:<20} {state:<9} {generation}  {node.address}  seen {node.seen_at}"


def operation_line(operation: Operation) -> str:
    """One operation: how far it is."""
    last = operation.progress[-1].text if operation.progress else "not begun"
    return f"operation {operation.id} ({operation.kind}, {operation.created_by}): {operation.state}, {last}"


def approval_line(approval: Approval) -> str:
    """One approval: what waits, or who decided."""
    by = f" by {approval.decided_by}" if approval.decided_by else f", asked by {approval.requested_by}"
    eyes = ", not for the one who asked" if approval.four_eyes and approval.state == "pending" else ""
    because = f": {'; '.join(approval.because)}" if approval.because else ""
    return f"approval {approval.id} ({approval.subject}) {approval.state}{by}{eyes}{because}"


def convergence_lines(found: Convergence) -> Iterator[str]:
    """Who serves it, who does not."""
    yield f"generation {found.generation} is served by {', '.join(found.serving) or 'nobody'}"
    if found.refused:
        yield f"  refused by {', '.join(found.refused)}, which goes on as before"
    for node, problems in found.problems.items():
        yield from (f"  {node}: {endpoint}: {why}" for endpoint, why in problems.items())
    if found.away:
        yield f"  not heard of for long: {', '.join(found.away)}"


def key_lines(keys: Iterable[KeyRecord]) -> Iterator[str]:
    """Keys, one a line; no secret is among it."""
    for key in keys:
        where = "all endpoints" if key.endpoints is None else ", ".join(key.endpoints)
        until = f"until {timestamp(key.expires_at)}" if key.expires_at is not None else "for ever"
        yield f"{key.id:<14} {key.subject:<20} {key.role:<9} {key.state:<8} {until:<30} {where}"
