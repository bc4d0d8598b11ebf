"""Everything that `penstock status` shows, read at one moment."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, func, select

from penstock.control import approvals, nodes, operations, routing
from penstock.control.again import rehearsal_checks
from penstock.control.checks import find_report, reasons
from penstock.control.keys import count_valid
from penstock.control.records import EndpointStatus, Status
from penstock.control.rollback import previous_of
from penstock.control.routing import Head
from penstock.control.schema import releases
from penstock.control.store import Store
from penstock.core.errors import Refused
from penstock.core.version import __version__
from penstock.registry.schema import audit_head, models

_OPERATIONS = 5


def read(store: Store) -> Status:
    """The state of control, its endpoints and its nodes."""
    with store.database.read() as connection:
        head = routing.read_head(connection, store)
        newest = select(releases.c.endpoint, func.max(releases.c.generation).label("since")).group_by(
            releases.c.endpoint
        )
        since = {row.endpoint: row.since for row in connection.execute(newest)}
        keys = count_valid(connection, store.clock())
        counted = connection.execute(select(func.count()).select_from(models)).scalar_one()
        events = connection.execute(select(audit_head.c.seq)).scalar_one()
        warnings = tuple(_no_way_back(connection, store, head))
    found = nodes.read_all(store)
    return Status(
        version=__version__,
        database=store.database.name,
        generation=routing.read_generation(store),
        endpoints=tuple(
            EndpointStatus(name=name, endpoint=endpoint, since=since[name]) for name, endpoint in head.endpoints.items()
        ),
        nodes=tuple(found),
        convergence=nodes.convergence(head.generation, found),
        operations=tuple(operations.read_page(store, None, _OPERATIONS)),
        rollouts=tuple(head.standing[name] for name in sorted(head.standing)),
        approvals=tuple(approvals.read_all(store, "pending")),
        warnings=warnings,
        keys=keys,
        models=counted,
        audit_events=events,
    )


def _no_way_back(connection: Connection, store: Store, head: Head) -> Iterator[str]:
    """Endpoints whose last rehearsal found that the release before does not start any more."""
    for name, served in sorted(head.endpoints.items()):
        try:
            before = previous_of(connection, store, name, served)
        except Refused as error:
            yield f"endpoint {name} cannot go back: {error.message}"
            continue
        for check in rehearsal_checks(name, before):
            report = find_report(connection, check)
            if report is not None and report.verdict == "fail":
                yield f"endpoint {name} cannot go back: {check.version}: {reasons(connection, check)}"
