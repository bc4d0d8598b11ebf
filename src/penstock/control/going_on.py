"""Going on with an operation of any kind, from wherever it is to its end, a failure or somebody's decision."""

from __future__ import annotations

from penstock.control import apply, checking, operations
from penstock.control.checks import Judge
from penstock.control.records import Operation
from penstock.control.store import Store
from penstock.core.errors import Conflict, Forbidden, InvalidInput, NotFound, Refused
from penstock.security.identity import Identity

# What trying again does not change. Anything else leaves the operation as it is, to be continued.
_FINAL = (Conflict, Refused, NotFound, InvalidInput, Forbidden)
_KINDS = {"apply": apply.go_on, "check": checking.go_on}


def go_on(store: Store, number: int, decide: Judge, tell: operations.Tell) -> Operation:
    """Do what is left to be done; returns the operation as it is then. What ended or waits stays as it is."""
    with store.database.read() as connection:
        operation, request = operations.read_in(connection, number)
    if operation.state not in ("pending", "running"):
        return operation
    try:
        _KINDS[operation.kind](store, number, request, decide, tell)
    except _FINAL as error:
        with store.change(Identity(subject=operation.created_by, role="viewer"), operation.reason) as change:
            if not operations.read_in(change.connection, number)[0].ended:
                operations.fail(change, number, error)
    ended = operations.read(store, number)
    tell(ended)
    return ended
