"""Rollouts as control runs them: begun by an apply, moved on by `tick`, told what to do by people.

A tick reads the row, asks for the facts, decides (pure, `rollout/decide.py`) and writes state, event and generation in
one transaction that only one of two processes can make. So a kill at any point leaves the old step or the new one.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from penstock.control import nodes, rollout_rows
from penstock.control.freezes import frozen_by
from penstock.control.looking import Look, refuse_unable
from penstock.control.records import AliasMove, RolloutEvent, RolloutRecord
from penstock.control.routing import Head, read_head, write_moved
from penstock.control.store import Store
from penstock.core.buckets import MOST_SEED_BYTES, Ranges
from penstock.core.digest import canonical_json, digest_of
from penstock.core.errors import Conflict, NotFound, PenstockError, Refused
from penstock.core.names import parse_version_ref
from penstock.core.routes import FORMAT, TOTAL_WEIGHT, Endpoint, RouteDocument, read_routes
from penstock.registry import aliases
from penstock.registry.audit import Change
from penstock.registry.versions import find_version
from penstock.rollout.arms import compared, endpoint_of, ranges_of
from penstock.rollout.decide import Command, Decision, Facts, Serving, decide, obey
from penstock.rollout.decide import begin as first_state
from penstock.rollout.judgement import Evidence, Judgement
from penstock.rollout.plan import RolloutPlan
from penstock.rollout.state import Rollout, RolloutState
from penstock.security.identity import Identity
from penstock.security.permissions import allow

CONTROL = Identity(subject="control", role="admin")
_CONCLUSIVE = ("better", "not-worse")
# The whole of it is in the event; what the audit log takes as a reason is limited.
_MOST_REASON = 500


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout that an apply begins: from what is served to `after`, with the aliases that wait for its end."""

    plan: RolloutPlan
    before: Endpoint
    after: Endpoint
    moves: tuple[AliasMove, ...]


def begin(change: Change, name: str, wanted: Wanted, generation: int) -> Endpoint:
    """Write a rollout that begins with `generation`; returns the endpoint as it is then."""
    number = rollout_rows.next_number(change.connection)
    rollout = Rollout(
        endpoint=name,
        plan=wanted.plan,
        before=wanted.before,
        after=wanted.after,
        seed=_seed(name, wanted, number),
        state=first_state(seconds_of(change.time), generation),
    )
    _check_courses(rollout)
    text = f"{wanted.plan.strategy} to {wanted.after.arms[0].version}: loading it beside what is served"
    rollout_rows.create(change, number, rollout, wanted.moves, text)
    return endpoint_of(rollout, wanted.before)


def _check_courses(rollout: Rollout) -> None:
    """Raise InvalidInput (`invalid-routes`) where nodes would refuse a step of it: nobody must be told of one."""
    half = _with_state(rollout, msgspec.structs.replace(rollout.state, phase="step", weight=TOTAL_WEIGHT // 2))
    for one in (rollout, half):
        endpoints = {rollout.endpoint: endpoint_of(one, rollout.before)}
        read_routes(canonical_json(RouteDocument(format=FORMAT, generation=0, endpoints=endpoints)))


def _seed(name: str, wanted: Wanted, number: int) -> str:
    """What divides the units: as the spec says, else anew, so that not the same people try every new version first.

    Where several arms share the traffic already, everybody keeps theirs.
    """
    if wanted.after.seed or len(wanted.before.arms) > 1:
        return wanted.after.seed or wanted.before.seed or name
    anew = f"{name}:{number}"
    return anew if len(anew.encode()) <= MOST_SEED_BYTES else digest_of(anew.encode())[-32:]


def tick(store: Store, number: int, look: Look) -> RolloutRecord:
    """Move a rollout on as far as the facts allow, by one step; returns it as it is then.

    May be repeated, and by several processes. Raises what reading the log raises; then nothing has changed.
    """
    with store.database.read() as connection:
        record = rollout_rows.read_in(connection, store, number)
        head = read_head(connection, store)
    if record.ended:
        return record
    facts = _facts(store, head, record, look)
    decision = decide(record.rollout, facts)
    if decision.because:
        with store.change(CONTROL, decision.because[:_MOST_REASON]) as change:
            if not _moved(change, store, record):
                _act(change, store, record, decision, facts.judgement)
    elif facts.judgement is not None and facts.judgement != record.judgement:
        rollout_rows.keep_judgement(store, record, facts.judgement)
    return read(store, number)


def command(store: Store, identity: Identity, number: int, what: Command, reason: str) -> RolloutRecord:
    """Do what a person asks of a rollout.

    Raises Forbidden, NotFound, Conflict (`rollout-not-possible`) where its state does not allow it, Refused (`frozen`).
    To promote without a verdict needs the right to let pass what a gate did not.
    """
    with store.change(identity, reason) as change:
        record = rollout_rows.read_in(change.connection, store, number)
        endpoint, judged = record.rollout.endpoint, record.judgement
        allow(identity, "apply", endpoint)
        if what == "promote":
            if judged is None or judged.verdict not in _CONCLUSIVE:
                allow(identity, "override", endpoint)
            refuse_frozen(read_head(change.connection, store), store)
        obey_in(change, store, record, what, identity)
    return read(store, number)


def obey_in(change: Change, store: Store, record: RolloutRecord, what: Command, identity: Identity) -> None:
    """Do it, in a transaction that has begun; raises Conflict (`rollout-not-possible`)."""
    decision = obey(record.rollout, what, identity.subject, store.clock())
    if decision is None:
        state = record.rollout.state
        raise Conflict(
            "rollout-not-possible",
            f"rollout {record.id} is {state.end or state.hold or state.phase}: it cannot {what}",
            hint="penstock rollout status",
        )
    _act(change, store, record, decision, record.judgement)


def retry(store: Store, identity: Identity, endpoint: str, reason: str) -> RolloutRecord:
    """Begin the rollout again that went back; raises Forbidden, NotFound, Conflict (`rollout-running`), Refused."""
    allow(identity, "apply", endpoint)
    with store.change(identity, reason) as change:
        head = read_head(change.connection, store)
        record = standing_of(head, endpoint)
        refuse_running(head, endpoint)
        refuse_frozen(head, store)
        rollout_rows.give_up(change, record)
        number = rollout_rows.next_number(change.connection)
        about = head.spec.endpoints.get(endpoint) if head.spec is not None else None
        plan = (about.rollout if about is not None else None) or record.rollout.plan
        if plan.strategy != "all-at-once":
            refuse_unable()
        wanted = Wanted(plan=plan, before=head.endpoints[endpoint], after=record.rollout.after, moves=record.moves)
        served = begin(change, endpoint, wanted, head.generation + 1)
        write_moved(change, head, endpoint, served, steady=False)
    return read(store, number)


def standing_of(head: Head, endpoint: str) -> RolloutRecord:
    """The rollout that an endpoint's difference from the spec comes from; raises NotFound (`unknown-rollout`)."""
    if endpoint not in head.standing:
        raise NotFound(
            "unknown-rollout",
            f"no rollout of {endpoint[:80]!r} goes on or went back",
            hint="penstock apply begins one where penstock.yaml says rollout",
        )
    return head.standing[endpoint]


def refuse_running(head: Head, endpoint: str) -> None:
    """Raise Conflict (`rollout-running`) while a rollout of this endpoint goes on, paused or not."""
    record = head.standing.get(endpoint)
    if record is not None and record.going:
        to = record.rollout.after.arms[0].version
        raise Conflict(
            "rollout-running",
            f"endpoints.{endpoint}: rollout {record.id} to {to} is not done",
            hint=f"penstock rollout abort {endpoint}, or promote",
        )


def refuse_frozen(head: Head, store: Store) -> None:
    """Raise Refused (`frozen`) in a freeze window of the spec; going back is never frozen."""
    name = frozen_by(head.spec.freezes, store.clock()) if head.spec is not None else ""
    if name:
        raise Refused(
            "frozen", f"nothing goes forward during the freeze {name!r}", hint="wait, or take it out of freezes"
        )


def read(store: Store, number: int) -> RolloutRecord:
    """One rollout; raises NotFound (`unknown-rollout`)."""
    with store.database.read() as connection:
        return rollout_rows.read_in(connection, store, number)


def read_events(store: Store, number: int) -> list[RolloutEvent]:
    """What it did and why, in order; raises NotFound (`unknown-rollout`)."""
    with store.database.read() as connection:
        rollout_rows.read_in(connection, store, number)
        return rollout_rows.read_events(connection, number)


def _facts(store: Store, head: Head, record: RolloutRecord, look: Look) -> Facts:
    serving, problems = _serving(store, record)
    evidence = Evidence()
    try:
        if record.rollout.state.counted is not None:
            evidence = look(record.rollout)
    except PenstockError:
        # What cannot be served goes back, also where nobody can say what was seen of it.
        if serving != "refused":
            raise
    served = head.endpoints.get(record.rollout.endpoint)
    olds, new = compared(record.rollout)
    names = {arm.name for arm in served.arms} if served is not None else set()
    buckets: tuple[Ranges, Ranges] = ((), ())
    if served is not None and new in names:
        owned = [pair for name in olds for pair in ranges_of(served, name)]
        buckets = (tuple(sorted(owned)), ranges_of(served, new))
    return Facts(
        now=store.clock(),
        serving=serving,
        problems=problems,
        judgement=evidence.judgement,
        weight=evidence.weight,
        frozen=frozen_by(head.spec.freezes, store.clock()) if head.spec is not None else "",
        buckets=buckets,
    )


def _serving(store: Store, record: RolloutRecord) -> tuple[Serving, str]:
    """Whether every node serves the step; what it could not load of other endpoints is no matter of this one."""
    endpoint = record.rollout.endpoint
    found = nodes.converged(store, record.rollout.state.generation)
    problems = {
        node: why
        for node, said in found.problems.items()
        for what, why in said.items()
        if what in ("*", endpoint) or what.startswith(f"{endpoint}/shadow ")
    }
    if _retired(store, record):
        return "refused", f"{record.rollout.after.arms[0].version} is retired"
    if problems:
        return "refused", "; ".join(f"{node}: {why}" for node, why in sorted(problems.items()))
    serving = (*found.serving, *found.refused)
    return ("ready" if serving and not found.behind else "converging"), ""


def _retired(store: Store, record: RolloutRecord) -> bool:
    ref = parse_version_ref(record.rollout.after.arms[0].version)
    with store.database.read() as connection:
        return ref.number is not None and find_version(connection, ref.name, ref.number).retired


def _moved(change: Change, store: Store, record: RolloutRecord) -> bool:
    """Whether another process, or somebody, changed it since it was read."""
    return rollout_rows.read_in(change.connection, store, record.id).revision != record.revision


def _act(change: Change, store: Store, record: RolloutRecord, decision: Decision, judgement: Judgement | None) -> None:
    """Write the new state, and what it means for the endpoint and its aliases."""
    head = read_head(change.connection, store)
    name, state, text = record.rollout.endpoint, decision.state, decision.because
    rollout = _with_state(record.rollout, state)
    promoted = state.phase == "finishing" and state.end == "promoted"
    served = head.endpoints.get(name)
    # One that was given up ends in silence: the endpoint is another's by now.
    if served is not None and record.standing:
        wanted = endpoint_of(rollout, served)
        if wanted != served:
            steady = state.phase in ("finishing", "ended")
            generation = write_moved(change, head, name, wanted, steady=steady)
            state = msgspec.structs.replace(state, generation=generation)
    if promoted:
        text += _move_aliases(change, record.moves)
    standing = record.standing and state.end != "promoted"
    rollout_rows.write(change, record, state, judgement, text, standing=standing)


def _move_aliases(change: Change, moves: tuple[AliasMove, ...]) -> str:
    """Move what waited for the promotion. Where somebody moved one meanwhile, theirs stays: they knew better."""
    told = ""
    for move in moves:
        try:
            aliases.set_alias(change, move.model, move.alias, move.after, move.before or "absent", approved=True)
        except (Conflict, Refused) as error:
            told += f"; {move.model}@{move.alias} stays as it is: {error.message}"
    return told


def _with_state(rollout: Rollout, state: RolloutState) -> Rollout:
    return msgspec.structs.replace(rollout, state=state)


def seconds_of(time: str) -> float:
    """A moment that was written down, in seconds since 1970."""
    return datetime.fromisoformat(time).astimezone(UTC).timestamp()
