"""What control answers: plain values, as they were when the question was asked. Times are RFC 3339 in UTC."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from penstock.core.errors import PenstockError
from penstock.core.routes import Endpoint
from penstock.rollout.judgement import Judgement
from penstock.rollout.state import Rollout

State = Literal["pending", "running", "waiting-approval", "done", "failed"]


class Failure(msgspec.Struct, frozen=True):
    """Why an operation ended: what a PenstockError says."""

    kind: str
    code: str
    message: str
    hint: str = ""

    def error(self) -> PenstockError:
        """The error again, as the class of its kind."""
        classes = {kind.kind: kind for kind in PenstockError.__subclasses__()}
        return classes.get(self.kind, PenstockError)(self.code, self.message, hint=self.hint)


class Step(msgspec.Struct, frozen=True):
    """One thing an operation did, in words."""

    at: str
    text: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Something that takes a while. `generation` is what it ended in, `approval` what it waits for.

    `pending` and `running` ones go on by `Control.continue_operation`; `done` and `failed` never change again.
    """

    id: int
    kind: Literal["apply", "check"]
    state: State
    progress: tuple[Step, ...]
    error: Failure | None
    generation: int | None
    approval: int | None
    created_at: str
    created_by: str
    updated_at: str
    reason: str

    @property
    def ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state in ("done", "failed")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does to one endpoint; `differences` are lines for people, the objects are the whole of both sides."""

    endpoint: str
    what: Literal["created", "changed", "removed", "unchanged"]
    before: Endpoint | None
    after: Endpoint | None
    differences: tuple[str, ...] = ()


class AliasMove(msgspec.Struct, frozen=True, kw_only=True):
    """An alias that a plan points elsewhere; `before` is None where there is none yet."""

    model: str
    alias: str
    before: int | None
    after: int
    protected: bool


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A version that is new on an endpoint and must pass its gates; `verdict` is a stored report's, if there is one."""

    endpoint: str
    version: str
    bundle: str
    champion: str
    plan_digest: str
    verdict: Literal["pass", "fail", "inconclusive"] | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The difference between a spec and what is. `generation` is the one it was made against.

    `rollouts` are the strategies by which endpoints change that do not change at once, `plans` differences of how the
    next versions will take over, by endpoint. `settings` are differences of what is no endpoint (schedules, freezes,
    protected aliases, access, gates); `unprotected` are aliases that would lose their protection.
    """

    generation: int
    spec_digest: str
    changes: tuple[Change, ...]
    aliases: tuple[AliasMove, ...]
    checks: tuple[Check, ...]
    rollouts: dict[str, str]
    plans: dict[str, tuple[str, ...]]
    settings: tuple[str, ...]
    unprotected: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether applying it would change nothing."""
        unchanged = all(change.what == "unchanged" for change in self.changes)
        return unchanged and not (self.aliases or self.settings or self.plans)


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key without its secret. `endpoints` None is all of them; `expires_at` is in seconds since 1970."""

    id: str
    subject: str
    role: str
    endpoints: tuple[str, ...] | None
    rate_per_s: float | None
    created_at: str
    created_by: str
    expires_at: float | None
    revoked_at: float | None
    state: Literal["valid", "expired", "revoked"]


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. `text` is told this once and kept nowhere."""

    text: str
    key: KeyRecord


class NodeReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a node says it serves; `problems` are by endpoint, `*` stands for the whole document."""

    generation: int
    digest: str
    state: str
    problems: dict[str, str] = {}
    address: str = ""
    processes: int = 1
    ready: bool = True


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it last reported; `current` when it has this generation, `away` when it was not heard for long.

    `diverged` is one with this generation's number and another document: it asks for the right one.
    """

    name: str
    generation: int
    digest: str
    state: str
    problems: dict[str, str]
    address: str
    processes: int
    ready: bool
    seen_at: str
    current: bool
    diverged: bool
    away: bool


class Convergence(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes serve a generation: those that do, refused it, are still on an older one, were not heard of for long.

    `problems` are why a node refused, by node and endpoint; `*` is the whole document.
    """

    generation: int
    serving: tuple[str, ...]
    refused: tuple[str, ...]
    behind: tuple[str, ...]
    away: tuple[str, ...]
    problems: dict[str, dict[str, str]]

    @property
    def done(self) -> bool:
        """Whether every node that is there serves it; not when there is none."""
        return bool(self.serving) and not self.behind and not self.refused


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits for somebody. `four_eyes`: not for the one who asked.

    `request` is what will be done, `because` why it needs to be asked; `operation` goes on once it is approved.
    """

    id: int
    kind: Literal["apply", "alias"]
    subject: str
    request: Any
    because: tuple[str, ...]
    state: Literal["pending", "approved", "refused"]
    four_eyes: bool
    operation: int | None
    requested_at: str
    requested_by: str
    decided_at: str
    decided_by: str
    reason: str


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """One state of everything: who made it, when and why. `spec_generation` is the last apply's."""

    generation: int
    spec_generation: int
    spec_digest: str
    created_at: str
    created_by: str
    reason: str


class RolloutEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a rollout: when, who (`control`, or a person), why in words, and what was known then."""

    at: str
    who: str
    text: str
    judgement: Judgement | None


class RolloutRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout and how far it is.

    `moves` are the aliases that move once it is promoted, `judgement` is the newest verdict. It is `standing` while it
    is why its endpoint serves something else than the spec says: because it goes on, or because it went back.
    """

    id: int
    rollout: Rollout
    moves: tuple[AliasMove, ...]
    judgement: Judgement | None
    created_at: str
    created_by: str
    updated_at: str
    reason: str
    revision: int
    standing: bool

    @property
    def ended(self) -> bool:
        """Whether nothing more happens."""
        return self.rollout.state.ended

    @property
    def going(self) -> bool:
        """Whether it is still open how it ends."""
        return not self.rollout.state.end


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint was from a generation on: model, settings, gates and routes under one number."""

    endpoint: str
    generation: int
    content: Endpoint | None
    created_at: str
    created_by: str


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint and since which generation it is as it is."""

    name: str
    endpoint: Endpoint
    since: int


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `penstock status` shows; `rollouts` are those that go on, or went back and were not given up.

    `warnings` say what somebody should look after: a release that could not come back.
    """

    version: str
    database: str
    generation: Generation | None
    endpoints: tuple[EndpointStatus, ...]
    nodes: tuple[NodeRecord, ...]
    convergence: Convergence
    operations: tuple[Operation, ...]
    rollouts: tuple[RolloutRecord, ...]
    approvals: tuple[Approval, ...]
    warnings: tuple[str, ...]
    keys: int
    models: int
    audit_events: int
