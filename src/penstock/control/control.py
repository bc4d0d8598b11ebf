"""The control plane: every use of it in one place. The API and the command line call this and hold no rules.

What changes something takes the identity that asks, and refuses what its role does not allow; the table is in
`security/permissions.py`. What only reads does not ask: whoever lets others read decides who may.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock.control import (
    again,
    alias,
    apply,
    approvals,
    backup,
    checking,
    checks,
    deploy,
    gate_files,
    going_on,
    idempotency,
    keys,
    nodes,
    operations,
    plan,
    replay,
    routing,
    status,
)
from penstock.control.checks import Judge
from penstock.control.looking import LogLook, Look
from penstock.control.records import (
    Approval,
    Convergence,
    Generation,
    KeyRecord,
    NewKey,
    NodeRecord,
    NodeReport,
    Operation,
    Plan,
    Status,
)
from penstock.control.rolling import Rollouts
from penstock.control.spec import Spec
from penstock.control.store import Store
from penstock.core.clock import Clock, wall
from penstock.core.routes import RouteDocument
from penstock.core.verdicts import Report
from penstock.gates.plan import GatePlan
from penstock.predlog.table_views import open_places
from penstock.registry.aliases import Expected
from penstock.registry.migrate import migrate
from penstock.registry.records import Verification
from penstock.registry.registry import Registry
from penstock.rollout.plan import RolloutPlan
from penstock.security.identity import Identity
from penstock.security.permissions import allow
from penstock.storage.blobs import Blobs
from penstock.storage.database import open_database


class Control:
    """Specs, generations, keys, nodes and approvals in the registry's database; any number of processes may use one.

    `judge` runs the gates of a version, by default on this machine; `look` finds what was seen of a rollout, by default
    in the prediction log of the home.
    """

    def __init__(self, store: Store, judge: Judge, look: Look | None = None) -> None:
        self._store = store
        self._judge = judge
        self._look = look or LogLook(open_places(store.home))

    @classmethod
    def open(
        cls,
        database_url: str,
        blobs: Blobs,
        home: Path,
        *,
        clock: Clock = wall,
        judge: Judge = checks.run_gates_here,
        look: Look | None = None,
    ) -> Self:
        """Open the database, creating or upgrading its tables; raises what `open_database` and `migrate` raise."""
        database = open_database(database_url)
        try:
            migrate(database)
            return cls(Store(database, blobs, home, clock), judge, look)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the database; control is not used afterwards."""
        self._store.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def registry(self, identity: Identity) -> Registry:
        """The registry, for one identity. It shares control's database and is not closed by itself."""
        return self._store.registry(identity)

    # What should be

    def plan(self, spec: Spec, *, base: Path | None = None) -> Plan:
        """The difference between a spec and what is; changes nothing.

        `base` is the folder that bundle paths in the spec start from; without it they are refused (`local-bundle`).
        """
        return plan.make_plan(self._store, spec, base)

    def apply(
        self,
        spec: Spec,
        *,
        identity: Identity,
        expected_generation: int | None = None,
        reason: str = "",
        base: Path | None = None,
        tell: operations.Tell = operations.silent,
    ) -> Operation:
        """Make it so: `begin_apply`, then `continue_operation`. `tell` hears of every step.

        The operation ends `done`, `failed` (its error says why) or `waiting-approval`.
        """
        begun = self.begin_apply(
            spec, identity=identity, expected_generation=expected_generation, reason=reason, base=base
        )
        return self.continue_operation(begun.id, tell=tell)

    def deploy(
        self,
        model: Any,
        sample: Any = None,
        *,
        name: str,
        identity: Identity,
        endpoint: str = "",
        alias: str = "",
        reason: str = "",
        rollout: RolloutPlan | None = None,
        tell: operations.Tell = operations.silent,
        choices: Mapping[str, Any] | None = None,
    ) -> deploy.Deployed:
        """Pack, register, gate and apply a model in one call; `choices` are those of `penstock.pack`.

        With `rollout` a version that follows another takes over by it, which `tick_rollout` (or `penstock up`) does.
        """
        wish = deploy.Wish(
            name=name,
            endpoint=endpoint or name,
            alias=alias,
            reason=reason,
            rollout=rollout,
            choices=choices or {},
        )
        return deploy.deploy(self._store, model, sample, wish, identity, self._judge, tell)

    def begin_apply(
        self,
        spec: Spec,
        *,
        identity: Identity,
        expected_generation: int | None = None,
        reason: str = "",
        base: Path | None = None,
    ) -> Operation:
        """Register the spec's bundles, check the plan, and note the wish; `continue_operation` does the rest.

        Raises Conflict (`generation-moved`) when somebody applied after `expected_generation` (default: now).
        """
        return apply.begin(self._store, spec, identity, expected_generation, reason, base)

    def continue_operation(self, number: int, *, tell: operations.Tell = operations.silent) -> Operation:
        """Go on with an operation until it ends or waits; may be repeated, after a crash and by several processes."""
        return going_on.go_on(self._store, number, self._judge, tell)

    def operation(self, number: int) -> Operation:
        """One operation; raises NotFound (`unknown-operation`)."""
        return operations.read(self._store, number)

    def operations(self, *, before: int | None = None, limit: int = 100) -> list[Operation]:
        """Operations, the newest first, those with a smaller id than `before`."""
        return operations.read_page(self._store, before, limit)

    def unfinished(self) -> list[Operation]:
        """Operations that somebody must continue: `pending` and `running`."""
        return operations.read_unfinished(self._store)

    def spec(self) -> Spec | None:
        """The spec that was applied last."""
        return routing.read_spec(self._store)

    def generation(self) -> Generation | None:
        """The current generation; None before the first apply."""
        return routing.read_generation(self._store)

    def generations(self, *, before: int | None = None, limit: int = 100) -> list[Generation]:
        """Generations, the newest first."""
        return routing.read_generations(self._store, before, limit)

    @property
    def rollouts(self) -> Rollouts:
        """How versions take over endpoints, and the way back."""
        return Rollouts(self._store, self._look)

    def judge_served(self, *, identity: Identity, golden_alone: bool = False) -> list[again.Judged]:
        """Run the gates of all that is served again, or its golden rows alone; the reports are kept."""
        allow(identity, "check")
        return again.judge_served(self._store, identity, self._judge, golden_alone=golden_alone)

    def rehearse_rollback(self, *, identity: Identity) -> list[again.Judged]:
        """Load what each endpoint would go back to and replay its golden rows; the reports are kept."""
        allow(identity, "check")
        return again.rehearse_rollback(self._store, identity, self._judge)

    def begin_check(self, wish: checking.CheckWish, *, identity: Identity) -> Operation:
        """Note that a registered version shall be judged; `continue_operation` does it and keeps the report with it."""
        return checking.begin(self._store, wish, identity)

    def report(self, number: int) -> Report:
        """What the gates of a check found, by its operation; raises NotFound (`unknown-operation`, `no-report`)."""
        return checking.read_report(self._store, number)

    def keep_report(self, version: str, gates: GatePlan, report: Report, *, identity: Identity) -> str:
        """Store what gates found elsewhere with a registered version, and return its name.

        Raises what `checks.keep_own` raises.
        """
        return checks.keep_own(self._store, identity, version, gates, report)

    def reports(self, version: str) -> list[Report]:
        """Every report that is stored of a version, the newest first."""
        return checks.read_reports(self._store, version)

    def has_gate_file(self, digest: str) -> bool:
        """Whether a file that gates may use is here; raises InvalidInput (`invalid-digest`)."""
        return gate_files.has(self._store, digest)

    def keep_gate_file(self, file: Path, digest: str, *, identity: Identity) -> None:
        """Keep a file for gates, which a spec then names `sha256:HEX/NAME`; raises what `gate_files.keep` raises."""
        gate_files.keep(self._store, identity, file, digest)

    # What nodes are told, and tell

    def routes(self) -> RouteDocument:
        """The route document of the current generation; generation 0 without endpoints before the first apply."""
        return routing.read_routes(self._store)

    def routes_after(self, generation: int, digest: str = "") -> RouteDocument | None:
        """The current document, unless a node that has `generation` with `digest` has it already."""
        return nodes.routes_after(self._store, generation, digest)

    def acknowledge(self, name: str, report: NodeReport) -> None:
        """Note what a node says it serves; raises InvalidInput for a name or report that cannot be."""
        nodes.acknowledge(self._store, name, report)

    def nodes(self) -> list[NodeRecord]:
        """Every node that was ever heard of, by name."""
        return nodes.read_all(self._store)

    def forget_node(self, name: str, *, identity: Identity, reason: str = "") -> None:
        """Take a node that is gone for good off the list; raises NotFound (`unknown-node`)."""
        nodes.forget(self._store, identity, name, reason)

    def converged(self, generation: int) -> Convergence:
        """Which nodes serve this generation (or a later one), which do not yet, and what they could not load."""
        return nodes.converged(self._store, generation)

    # Who may

    def ensure_admin_key(self) -> Path | None:
        """Make the first admin key and write it to `admin.key` in the home, unless there is a key already."""
        return keys.ensure_admin(self._store)

    def identify(self, text: str) -> Identity:
        """Who holds this key; raises Unauthenticated (`invalid-key`, `expired-key`)."""
        return keys.identify(self._store, text)

    def create_key(
        self,
        subject: str,
        role: str,
        *,
        identity: Identity,
        endpoints: tuple[str, ...] | None = None,
        expires_in_s: float | None = None,
        rate_per_s: float | None = None,
        reason: str = "",
    ) -> NewKey:
        """A new key; its text is in the answer and nowhere else."""
        wish = keys.Wish(
            subject=subject, role=role, endpoints=endpoints, expires_in_s=expires_in_s, rate_per_s=rate_per_s
        )
        return keys.create(self._store, identity, wish, reason)

    def keys(self, *, identity: Identity) -> list[KeyRecord]:
        """Every key, without its secret."""
        return keys.read_all(self._store, identity)

    def revoke_key(self, key_id: str, *, identity: Identity, reason: str = "") -> KeyRecord:
        """End a key now; raises NotFound (`unknown-key`)."""
        return keys.revoke(self._store, identity, key_id, reason)

    def rotate_key(self, key_id: str, *, identity: Identity, grace_s: float = 3600, reason: str = "") -> NewKey:
        """A new key for the same subject with the same grants; the old one ends `grace_s` seconds from now."""
        return keys.rotate(self._store, identity, key_id, grace_s, reason)

    # Aliases and approvals

    def set_alias(
        self,
        model: str,
        name: str,
        number: int,
        *,
        identity: Identity,
        expected: Expected = None,
        reason: str = "",
    ) -> Approval | None:
        """Point an alias at a version; where it is protected, ask for it instead and return what was asked."""
        return alias.set_alias(self._store, identity, alias.Move(model, name, number), expected, reason)

    def approvals(self, *, state: str = "") -> list[Approval]:
        """What waits for somebody, or was decided; the newest first."""
        return approvals.read_all(self._store, state)

    def approval(self, number: int) -> Approval:
        """One approval; raises NotFound (`unknown-approval`)."""
        return approvals.read(self._store, number)

    def approve(self, number: int, *, identity: Identity, reason: str = "") -> Approval:
        """Let it happen. An alias moves at once; an operation is `pending` again and must be continued."""
        return approvals.decide(self._store, identity, number, "approved", reason)

    def refuse(self, number: int, *, identity: Identity, reason: str = "") -> Approval:
        """Do not let it happen; its operation fails."""
        return approvals.decide(self._store, identity, number, "refused", reason)

    # Everything at once

    def status(self) -> Status:
        """Everything `penstock status` shows."""
        return status.read(self._store)

    def verify_audit(self, expected: str = "") -> Verification:
        """Walk the audit log's chain, then hold it against every table; see `Registry.verify_audit`."""
        return replay.verify_audit(self._store.database, expected)

    def remembered(self, identity: Identity, key: str, request_digest: str) -> Any | None:
        """What was answered to this idempotency key; raises Conflict (`idempotency-key-reused`) for another request."""
        return idempotency.remembered(self._store, identity, key, request_digest)

    def remember(self, identity: Identity, key: str, request_digest: str, response: Any) -> Any:
        """Keep an answer (plain JSON) for a day; returns the one that was kept first."""
        return idempotency.remember(self._store, identity, key, request_digest, response)

    def backup(self, target: Path, *, identity: Identity) -> backup.Backup:
        """Write everything but bundles' caches to one file, as it is at one moment; see `restore` for the way back."""
        return backup.write_backup(self._store, identity, target)
