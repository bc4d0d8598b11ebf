"""What each role may do: one table, one pure question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from penstock.core.errors import Forbidden
from penstock.security.identity import ROLES, Identity, Role

Action = Literal[
    "read",  # models, versions, endpoints, verdicts, state
    "predict",
    "outcomes",  # post true labels and business metrics
    "register",  # versions, tags, aliases that are not protected
    "check",  # run gates
    "apply",  # change what endpoints serve
    "records",  # read what was asked and answered: personal data, often
    "audit",  # read the audit log
    "approve",  # let wait what another one asked for
    "override",  # let pass what a gate did not
    "manage-keys",
    "backup",
]

# The least role of each action.
LEAST_ROLE: Mapping[Action, Role] = {
    "read": "viewer",
    "predict": "viewer",
    "outcomes": "viewer",
    "register": "operator",
    "check": "operator",
    "apply": "operator",
    "records": "operator",
    "audit": "operator",
    "approve": "approver",
    "override": "approver",
    "manage-keys": "admin",
    "backup": "admin",
}
# They concern no endpoint, and one who is confined to some may do them.
_UNCONFINED = frozenset({"read", "register", "check"})


def allow(identity: Identity, action: Action, endpoint: str = "") -> None:
    """Return if `identity` may do `action`, on `endpoint` where the action concerns one.

    Raises Forbidden: `role-forbidden`, or `endpoint-forbidden` when it is confined to other endpoints. One who is
    confined may do nothing that concerns all endpoints (read the audit log, manage keys, apply without saying where):
    forgetting to name the endpoint must not widen a grant.

    Example:
        >>> allow(Identity(subject="ana", role="operator", endpoints=("churn",)), "apply", "churn")
        >>> allow(Identity(subject="ana", role="viewer"), "apply", "churn")
        Traceback (most recent call last):
        penstock.core.errors.Forbidden: this needs the role operator, and ana is viewer ('apply') [role-forbidden]
    """
    least = LEAST_ROLE[action]
    if ROLES.index(identity.role) < ROLES.index(least):
        raise Forbidden(
            "role-forbidden", f"this needs the role {least}, and {identity.subject} is {identity.role} ({action!r})"
        )
    if identity.endpoints is None or endpoint in identity.endpoints or (not endpoint and action in _UNCONFINED):
        return
    where = f"the endpoint {endpoint[:80]!r}" if endpoint else "all endpoints"
    raise Forbidden("endpoint-forbidden", f"this concerns {where}, and {identity.subject} is confined to others")
