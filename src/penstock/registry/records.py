"""What the registry answers: plain values, as they were when the question was asked."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.bundle.manifest import Lineage, Waiver
from penstock.core.signature import Signature


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle registered under a model's name.

    `digest` names the bundle, `blob` the stored archive, `uri` is where a node fetches that. `metrics` are the
    packed ones and those added since. Times are RFC 3339 in UTC.
    """

    model: str
    number: int
    digest: str
    blob: str
    uri: str
    kind: str
    runtime: str
    signature: Signature
    lineage: Lineage
    waiver: Waiver | None
    measurements: Any
    licence: str
    created_at: str
    created_by: str
    retired: bool
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}
    metrics: dict[str, float] = {}

    @property
    def ref(self) -> str:
        """How people write it: `churn/7`."""
        return f"{self.model}/{self.number}"


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name with its versions counted and its aliases resolved."""

    name: str
    created_at: str
    versions: int
    newest: int
    aliases: dict[str, int]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit log. `docs/formats/audit.md` says which bytes `hash` covers."""

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    before: Any
    after: Any
    reason: str
    previous: str
    hash: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a walk over the audit log.

    `broken_at` is the first event at fault, `problem` what is wrong with it; `unrecorded` is a difference between the
    tables and what a whole log tells. `head` is the hash of the last good event.
    """

    events: int
    head: str
    broken_at: int | None = None
    problem: str = ""
    unrecorded: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing was found wrong."""
        return self.broken_at is None and not self.unrecorded
