"""Four eyes: where an alias is protected, who asks for a change is not who lets it happen."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from penstock.core.errors import Forbidden
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits: moving `alias`, and with it what `endpoint` serves ("" when it is served nowhere)."""

    alias: str
    requester: Identity
    endpoint: str = ""


def needs_approval(alias: str, protected: Collection[str]) -> bool:
    """Whether moving `alias` has to be approved.

    Example:
        >>> needs_approval("champion", ("champion",)), needs_approval("challenger", ("champion",))
        (True, False)
    """
    return alias in protected


def check_approval(request: ApprovalRequest, identity: Identity) -> None:
    """Return if `identity` may approve `request`; raises Forbidden as `allow` does, or `approval-forbidden`.

    The same subject is the same person, whatever proved it: a second key, or a token beside a key, gives nobody a
    second pair of eyes. Hence whoever gives out keys must give each person one subject.
    """
    allow(identity, "approve", request.endpoint)
    if _person(identity) == _person(request.requester):
        raise Forbidden(
            "approval-forbidden",
            f"{identity.subject} asked for this and cannot approve it",
            hint="ask somebody else",
        )


def may_approve(request: ApprovalRequest, identity: Identity) -> bool:
    """Whether `check_approval` lets it pass.

    Example:
        >>> ana, bo = Identity(subject="ana", role="admin"), Identity(subject="bo", role="approver")
        >>> request = ApprovalRequest(alias="champion", requester=ana)
        >>> may_approve(request, ana), may_approve(request, bo)
        (False, True)
    """
    try:
        check_approval(request, identity)
    except Forbidden:
        return False
    return True


def _person(identity: Identity) -> str:
    # Issuers write one address in different cases.
    return identity.subject.strip().casefold()
