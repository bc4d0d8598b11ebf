"""Nodes: what they were last heard to serve, and whether all of them serve a generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, delete, insert, select, update

from penstock.control.records import Convergence, NodeRecord, NodeReport
from penstock.control.routing import raise_generation, read_head, read_routes
from penstock.control.schema import generations, nodes
from penstock.control.store import Store
from penstock.core.clock import timestamp
from penstock.core.digest import canonical_json
from penstock.core.errors import InvalidInput, NotFound
from penstock.core.names import check_name
from penstock.core.routes import RouteDocument
from penstock.registry.texts import MAX_TEXT
from penstock.security.identity import Identity
from penstock.security.permissions import allow

AWAY_S = 30
"""A node that was not heard of for so long is away: six of its usual reports."""
MOST_GENERATION = 2**53
_MOST_PROBLEMS = 1000
_HERE = Identity(subject="control", role="admin")


def routes_after(store: Store, generation: int, digest: str) -> RouteDocument | None:
    """The current document, or None for a node that has it.

    Nearly every question is answered with None, so the document is built only when its number is another one.
    """
    document = read_routes(store)
    return None if (document.generation, document.digest()) == (generation, digest) else document


def acknowledge(store: Store, name: str, report: NodeReport) -> None:
    """Keep a node's report.

    A node that has seen a later generation than there is (control was restored from a backup) would ignore all that
    control says from now on; the generation is raised above it.
    """
    check_name(name, "node")
    if not 0 <= report.generation < MOST_GENERATION or len(report.problems) > _MOST_PROBLEMS or report.processes < 0:
        raise InvalidInput("invalid-report", f"node {name!r} reports what no node can say")
    row = {
        "generation": report.generation,
        "digest": _printable(report.digest),
        "state": _printable(report.state),
        "problems": canonical_json({_printable(k): _printable(v) for k, v in report.problems.items()}).decode(),
        "address": _printable(report.address),
        "processes": min(report.processes, 2**31 - 1),
        "ready": report.ready,
        "seen_at": store.clock(),
    }
    with store.database.write() as connection:
        known = connection.execute(update(nodes).where(nodes.c.name == name).values(row)).rowcount
        newest = connection.execute(select(generations.c.generation).order_by(generations.c.generation.desc())).scalar()
    if not known:
        _insert(store, name, row)
    if newest is not None and report.generation > newest:
        _overtake(store, name, report.generation)


def read_all(store: Store) -> list[NodeRecord]:
    """Every node, by name."""
    routes = read_routes(store)
    with store.database.read() as connection:
        rows = connection.execute(select(nodes)).all()
    current = (routes.generation, routes.digest())
    return sorted((_record(row, current, store.clock()) for row in rows), key=lambda node: node.name)


def forget(store: Store, identity: Identity, name: str, reason: str) -> None:
    """Take a node off the list; one that still reports comes back."""
    allow(identity, "apply")
    with store.change(identity, reason) as change:
        if not change.connection.execute(delete(nodes).where(nodes.c.name == name)).rowcount:
            raise NotFound("unknown-node", f"there is no node {name[:80]!r}", hint="penstock status")
        change.record("node.forgotten", f"node:{name}", {"name": name}, None)


def converged(store: Store, generation: int) -> Convergence:
    """Which nodes serve `generation`."""
    return convergence(generation, read_all(store))


def convergence(generation: int, found: Sequence[NodeRecord]) -> Convergence:
    """The answer for nodes as they last reported; one that is away holds nobody up, but is named."""
    here = [node for node in found if not node.away]
    refused = [node for node in here if _refuses(node, generation)]
    serving = [node for node in here if node not in refused and node.ready and _has(node, generation)]
    return Convergence(
        generation=generation,
        serving=tuple(node.name for node in serving),
        refused=tuple(node.name for node in refused),
        behind=tuple(node.name for node in here if node not in serving and node not in refused),
        away=tuple(node.name for node in found if node.away),
        problems={node.name: node.problems or {"*": f"it says that it is {node.state}"} for node in refused},
    )


def _has(node: NodeRecord, generation: int) -> bool:
    return node.generation >= generation and not node.diverged


def _refuses(node: NodeRecord, generation: int) -> bool:
    # What it could not load of an older generation says nothing of this one, unless it takes no document at all.
    return "*" in node.problems or (_has(node, generation) and (bool(node.problems) or node.state != "serving"))


def _insert(store: Store, name: str, row: dict[str, Any]) -> None:
    # Under the lock, because two processes may hear of a new node at once.
    with store.change(_HERE, "a new node") as change:
        if change.connection.execute(update(nodes).where(nodes.c.name == name).values(row)).rowcount:
            return
        change.connection.execute(insert(nodes).values(name=name, **row))
        change.record("node.joined", f"node:{name}", None, {"address": row["address"]})


def _overtake(store: Store, name: str, seen: int) -> None:
    with store.change(_HERE, f"node {name} serves generation {seen} from before") as change:
        head = read_head(change.connection, store)
        if head.generation < seen:
            raise_generation(change, head, seen + 1)


def _printable(text: str) -> str:
    """What a node says is shown to people: no control characters, not without end."""
    return "".join(letter if letter.isprintable() else "�" for letter in text[:MAX_TEXT])


def _record(row: Row[Any], current: tuple[int, str], now: float) -> NodeRecord:
    found = {name: row._mapping[name] for name in row._mapping if name not in ("seen_at", "problems")}
    return NodeRecord(
        **found,
        problems=msgspec.json.decode(row.problems, type=dict[str, str]),
        seen_at=timestamp(row.seen_at),
        current=(row.generation, row.digest) == current,
        diverged=row.generation == current[0] and row.digest != current[1],
        away=now - row.seen_at > AWAY_S,
    )
