"""Who is asking, once that is proved; the same value whether a key or a token proved it."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["viewer", "operator", "approver", "admin"]
# Each may do all that those before it may.
ROLES: tuple[Role, ...] = ("viewer", "operator", "approver", "admin")


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """`subject` is the name in the audit log; `endpoints` are those that it is confined to (None: not confined).

    `key_id` names the API key and `issuer` the issuer of the token that proved it; the other one is None.
    """

    subject: str
    role: Role
    endpoints: tuple[str, ...] | None = None
    key_id: str | None = None
    issuer: str | None = None
