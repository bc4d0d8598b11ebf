"""`penstock.rollouts`: what `penstock rollout` and `rollback` do, from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.desk import Server, open_desk
from penstock.cli.options import Place
from penstock.core.errors import NotFound

if TYPE_CHECKING:
    from penstock.cli.desk import Desk
    from penstock.control.records import Operation, Release, RolloutEvent, RolloutRecord
    from penstock.rollout.judgement import RolloutReport


@contextmanager
def rollouts(*, home: str | Path | None = None, server: str = "", key: str = "") -> Iterator[Rollouts]:
    """Steer rollouts: of the control of this home, or of a running one at `server`.

    Raises what a wrong address, a missing key or a missing extra raises.

    Example:
        with penstock.rollouts() as rollouts:
            rollouts.start("churn", "churn/8", {"strategy": "canary", "steps": [5, 50]})
            rollouts.newest("churn").rollout.state.phase     # 'loading'
            rollouts.rollback("churn", reason="too slow")
    """
    place = Place(home=Path(home) if home is not None else None)
    with closing(open_desk(place, Server(server=server, key=key))) as desk:
        yield Rollouts(desk)


class Rollouts:
    """Rollouts by endpoint. Each call raises what the same command would print."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def start(self, endpoint: str, model: str, plan: Mapping[str, Any] | None = None, *, reason: str = "") -> Operation:
        """Let a version (`churn/8`) take over; `plan` holds the fields of `rollout` in penstock.yaml.

        The operation ends `done` once its gates passed and the rollout has begun, or `waiting-approval`. Raises what
        stopped it.
        """
        from penstock.control.deploy import Start
        from penstock.rollout.plan import read_plan

        wish = Start(model=model, plan=read_plan(plan, "plan") if plan is not None else None, reason=reason)
        done = self._desk.start(endpoint, wish, lambda operation: None)
        if done.error is not None:
            raise done.error.error()
        return done

    def newest(self, endpoint: str) -> RolloutRecord:
        """The newest rollout of an endpoint; raises NotFound (`unknown-rollout`)."""
        found = self._desk.rollouts(endpoint)
        if not found:
            raise NotFound("unknown-rollout", f"{endpoint[:80]!r} has no rollout", hint="start begins one")
        return found[0]

    def events(self, endpoint: str) -> list[RolloutEvent]:
        """What it did and why, in order."""
        return self._desk.rollout_events(self.newest(endpoint).id)

    def report(self, endpoint: str) -> RolloutReport:
        """It as its log shows it."""
        return self._desk.report(self.newest(endpoint).id)

    def pause(self, endpoint: str, *, reason: str = "") -> RolloutRecord:
        """Go no further until it is resumed."""
        return self._desk.command_rollout(self.newest(endpoint).id, "pause", reason)

    def resume(self, endpoint: str, *, reason: str = "") -> RolloutRecord:
        """Go on."""
        return self._desk.command_rollout(self.newest(endpoint).id, "resume", reason)

    def promote(self, endpoint: str, *, reason: str = "") -> RolloutRecord:
        """Give the new version all traffic now."""
        return self._desk.command_rollout(self.newest(endpoint).id, "promote", reason)

    def abort(self, endpoint: str, *, reason: str = "") -> RolloutRecord:
        """Give the old version all traffic again."""
        return self._desk.command_rollout(self.newest(endpoint).id, "abort", reason)

    def retry(self, endpoint: str, *, reason: str = "") -> RolloutRecord:
        """Begin again what went back."""
        return self._desk.retry(endpoint, reason)

    def rollback(self, endpoint: str, *, to: int | None = None, reason: str = "") -> RolloutRecord:
        """Serve what was served before, or the release of generation `to`."""
        return self._desk.rollback(endpoint, to, reason)

    def releases(self, endpoint: str) -> list[Release]:
        """What an endpoint was, the newest first."""
        return self._desk.releases(endpoint)
