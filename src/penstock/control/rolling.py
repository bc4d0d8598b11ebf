"""Everything there is to do with rollouts, in one place: `Control.rollouts`."""

from __future__ import annotations

from penstock.control import deploy, rollback, rollout_rows, rollouts
from penstock.control.deploy import Start
from penstock.control.looking import Look
from penstock.control.records import Operation, Release, RolloutEvent, RolloutRecord
from penstock.control.store import Store
from penstock.rollout.decide import Command
from penstock.rollout.judgement import RolloutReport
from penstock.security.identity import Identity
from penstock.security.permissions import allow


class Rollouts:
    """Rollouts, releases and rollbacks of one control; `look` finds what was seen of a rollout."""

    def __init__(self, store: Store, look: Look) -> None:
        self._store = store
        self._look = look

    def start(self, endpoint: str, wish: Start, *, identity: Identity) -> Operation:
        """Note that a version shall take over an endpoint by a rollout; `continue_operation` runs gates and begins it.

        Raises Conflict (`rollout-running`), Refused (`frozen`), NotFound, InvalidInput (`invalid-rollout`).
        """
        return deploy.start(self._store, endpoint, wish, identity)

    def read(self, number: int) -> RolloutRecord:
        """One rollout; raises NotFound (`unknown-rollout`)."""
        return rollouts.read(self._store, number)

    def page(self, *, endpoint: str = "", before: int | None = None, limit: int = 100) -> list[RolloutRecord]:
        """Rollouts, the newest first, of all endpoints or one."""
        return rollout_rows.read_page(self._store, endpoint, before, limit)

    def events(self, number: int) -> list[RolloutEvent]:
        """What a rollout did and why, in order; raises NotFound (`unknown-rollout`)."""
        return rollouts.read_events(self._store, number)

    def going(self) -> list[RolloutRecord]:
        """Those that somebody must go on with."""
        return rollout_rows.read_going(self._store)

    def tick(self, number: int) -> RolloutRecord:
        """Move a rollout on by one step, if the facts allow; may be repeated at any time and by several processes.

        Raises Unavailable where the log or the database is away, and has then changed nothing.
        """
        return rollouts.tick(self._store, number, self._look)

    def command(self, number: int, what: Command, *, identity: Identity, reason: str = "") -> RolloutRecord:
        """Pause, resume, promote or abort; raises Conflict (`rollout-not-possible`), Refused (`frozen`)."""
        return rollouts.command(self._store, identity, number, what, reason)

    def retry(self, endpoint: str, *, identity: Identity, reason: str = "") -> RolloutRecord:
        """Begin again what went back; raises NotFound (`unknown-rollout`), Conflict (`rollout-running`)."""
        return rollouts.retry(self._store, identity, endpoint, reason)

    def report(self, number: int, *, identity: Identity) -> RolloutReport:
        """What the prediction log shows of a rollout: facts by step and arm, how verdicts came about, disagreement.

        Some recorded answers are in it, so that takes the right to read records. Raises NotFound, Refused
        (`nothing-counted`) before anything counts, and what reading the log raises.
        """
        record = self.read(number)
        allow(identity, "records", record.rollout.endpoint)
        return self._look.report(record.rollout, self._store.clock())

    def rollback(self, endpoint: str, *, identity: Identity, to: int | None = None, reason: str = "") -> RolloutRecord:
        """Serve at once what was served before, or the release of generation `to`, with its settings and aliases."""
        return rollback.rollback(self._store, identity, endpoint, to, reason)

    def releases(self, endpoint: str) -> list[Release]:
        """What an endpoint was, the newest first."""
        return rollback.read_releases(self._store, endpoint)
