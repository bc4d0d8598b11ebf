"""Moving an alias: at once, or where it is protected, once somebody else agrees."""

from __future__ import annotations

import msgspec

from penstock.control import approvals
from penstock.control.records import Approval
from penstock.control.routing import read_head
from penstock.control.store import Store
from penstock.core.errors import Conflict, Refused
from penstock.core.names import check_name
from penstock.registry import aliases
from penstock.registry.aliases import Expected
from penstock.registry.versions import find_version
from penstock.security.approvals import needs_approval
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class Move(msgspec.Struct, frozen=True):
    """An alias and where it shall point."""

    model: str
    alias: str
    number: int


def set_alias(store: Store, identity: Identity, move: Move, expected: Expected, reason: str) -> Approval | None:
    """Move it, or ask; raises what `Registry.set_alias` raises, and Forbidden."""
    allow(identity, "register")
    check_name(move.alias, "alias")
    with store.change(identity, reason) as change:
        spec = read_head(change.connection, store).spec
        if spec is None or not needs_approval(move.alias, spec.protected_aliases):
            aliases.set_alias(change, move.model, move.alias, move.number, expected)
            return None
        if find_version(change.connection, move.model, move.number).retired:
            raise Refused("version-retired", f"{move.model}/{move.number} is retired")
        before = aliases.read_aliases(change.connection, move.model).get(move.alias)
        if expected is not None and expected != (before or "absent"):
            raise Conflict("alias-moved", f"{move.model}@{move.alias} is {before or 'absent'}, not {expected}")
        if before == move.number:
            return None
        number = approvals.request(
            change,
            kind="alias",
            subject=f"{move.model}@{move.alias}",
            wanted={**msgspec.to_builtins(move), "before": before},
            because=[f"the alias {move.alias} is protected"],
            four_eyes=True,
            requester=identity.subject,
        )
        return approvals.read_in(change.connection, number)
