"""Control on this machine's own database, for whoever can open that: no process needs to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from penstock.cli.settings import Settings
from penstock.control.checks import run_gates_here
from penstock.control.control import Control
from penstock.control.deploy import Start
from penstock.control.looking import LogLook
from penstock.control.reading import read_spec_file
from penstock.control.records import (
    Approval,
    Convergence,
    KeyRecord,
    NewKey,
    Operation,
    Plan,
    Release,
    RolloutEvent,
    RolloutRecord,
    Status,
)
from penstock.core.verdicts import Report
from penstock.gates.plan import GatePlan
from penstock.predlog.table_views import open_places
from penstock.registry.aliases import Expected
from penstock.registry.records import Verification
from penstock.rollout.decide import Command
from penstock.rollout.judgement import RolloutReport
from penstock.security.identity import Identity
from penstock.storage.locate import open_blobs


class Embedded:
    """A desk. Who has the database has every right to it, so the identity is the actor's, as admin."""

    def __init__(self, settings: Settings, *, log_address: str = "") -> None:
        self._control = Control.open(
            settings.database_url,
            open_blobs(settings.artifacts_url),
            settings.home,
            judge=partial(run_gates_here, log_address=log_address),
            look=LogLook(open_places(settings.home, log_address)),
        )
        self._identity = Identity(subject=settings.actor, role="admin")

    def close(self) -> None:
        """Close the database."""
        self._control.close()

    def plan(self, file: Path) -> Plan:
        """The difference between the file and what is."""
        return self._control.plan(read_spec_file(file), base=file.absolute().parent)

    def apply(
        self, file: Path, *, expected_generation: int | None, reason: str, tell: Callable[[Operation], None]
    ) -> Operation:
        """Do it here and now."""
        return self._control.apply(
            read_spec_file(file),
            identity=self._identity,
            expected_generation=expected_generation,
            reason=reason,
            base=file.absolute().parent,
            tell=tell,
        )

    def converged(self, generation: int) -> Convergence:
        """Which nodes serve it."""
        return self._control.converged(generation)

    def status(self) -> Status:
        """Everything."""
        return self._control.status()

    def create_key(
        self,
        subject: str,
        role: str,
        *,
        endpoints: tuple[str, ...] | None,
        expires_in_s: float | None,
        rate_per_s: float | None,
        reason: str,
    ) -> NewKey:
        """A new key."""
        return self._control.create_key(
            subject,
            role,
            identity=self._identity,
            endpoints=endpoints,
            expires_in_s=expires_in_s,
            rate_per_s=rate_per_s,
            reason=reason,
        )

    def keys(self) -> list[KeyRecord]:
        """Every key."""
        return self._control.keys(identity=self._identity)

    def revoke_key(self, key_id: str, reason: str) -> KeyRecord:
        """End it now."""
        return self._control.revoke_key(key_id, identity=self._identity, reason=reason)

    def rotate_key(self, key_id: str, grace_s: float, reason: str) -> NewKey:
        """A successor."""
        return self._control.rotate_key(key_id, identity=self._identity, grace_s=grace_s, reason=reason)

    def set_alias(self, model: str, alias: str, number: int, expected: Expected, reason: str) -> Approval | None:
        """Move it, or ask for it."""
        return self._control.set_alias(model, alias, number, identity=self._identity, expected=expected, reason=reason)

    def approve(self, number: int, reason: str) -> Approval:
        """Let it happen; its operation goes on here."""
        decided = self._control.approve(number, identity=self._identity, reason=reason)
        if decided.operation is not None:
            self._control.continue_operation(decided.operation)
        return decided

    def refuse(self, number: int, reason: str) -> Approval:
        """Do not let it happen."""
        return self._control.refuse(number, identity=self._identity, reason=reason)

    def keep_report(self, ref: str, gates: GatePlan, report: Report) -> str:
        """Store a report with a version; returns the version's name."""
        return self._control.keep_report(ref, gates, report, identity=self._identity)

    def reports(self, version: str) -> list[Report]:
        """What gates found about a version."""
        return self._control.reports(version)

    def verify_audit(self, expected: str) -> Verification:
        """Whether the log is whole and tells all that the tables say."""
        return self._control.verify_audit(expected)

    def start(self, endpoint: str, wish: Start, tell: Callable[[Operation], None]) -> Operation:
        """Run its gates and begin it, here and now."""
        begun = self._control.rollouts.start(endpoint, wish, identity=self._identity)
        return self._control.continue_operation(begun.id, tell=tell)

    def rollouts(self, endpoint: str) -> list[RolloutRecord]:
        """Rollouts, the newest first."""
        return self._control.rollouts.page(endpoint=endpoint)

    def rollout_events(self, number: int) -> list[RolloutEvent]:
        """What one did."""
        return self._control.rollouts.events(number)

    def command_rollout(self, number: int, what: Command, reason: str) -> RolloutRecord:
        """Tell one what to do."""
        return self._control.rollouts.command(number, what, identity=self._identity, reason=reason)

    def retry(self, endpoint: str, reason: str) -> RolloutRecord:
        """Begin again what went back."""
        return self._control.rollouts.retry(endpoint, identity=self._identity, reason=reason)

    def rollback(self, endpoint: str, to: int | None, reason: str) -> RolloutRecord:
        """Serve what was served before."""
        return self._control.rollouts.rollback(endpoint, identity=self._identity, to=to, reason=reason)

    def releases(self, endpoint: str) -> list[Release]:
        """What an endpoint was."""
        return self._control.rollouts.releases(endpoint)

    def report(self, number: int) -> RolloutReport:
        """A rollout as this machine's log shows it."""
        return self._control.rollouts.report(number, identity=self._identity)
