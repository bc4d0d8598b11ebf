"""Where what was seen of a rollout comes from: the prediction log, once the libraries that judging takes are there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

from penstock.core.errors import Refused, Unsupported
from penstock.predlog.table_views import LogPlaces
from penstock.rollout.judgement import Evidence, RolloutReport
from penstock.rollout.state import Rollout


class Look(Protocol):
    """Judges what was seen of a rollout so far."""

    def __call__(self, rollout: Rollout) -> Evidence:
        """The verdict now."""

    def report(self, rollout: Rollout, now: float) -> RolloutReport:
        """The whole of it, for people."""


class LogLook:
    """Looks at the prediction log; raises Unsupported (`missing-extra`) where what that takes is not installed.

    The libraries are loaded when they are needed: a control that runs no rollout does without them.
    """

    def __init__(self, places: LogPlaces) -> None:
        self._places = places

    def __call__(self, rollout: Rollout) -> Evidence:
        """Judge it by the log."""
        refuse_unable()
        from penstock.rollout import evidence

        return evidence.look(self._places, rollout)

    def report(self, rollout: Rollout, now: float) -> RolloutReport:
        """What the log shows; raises Refused (`nothing-counted`) before anything counts."""
        refuse_unable()
        from penstock.rollout.report import make_report

        if not rollout.state.strata:
            raise Refused("nothing-counted", f"the rollout of {rollout.endpoint} has counted no call yet", hint="wait")
        return make_report(self._places, rollout, now)


def refuse_unable() -> None:
    """Raise Unsupported (`missing-extra`) where no verdict could ever be made: before anything begins."""
    for name in ("scipy", "duckdb"):
        if find_spec(name) is None:
            raise Unsupported(
                "missing-extra", f"rollouts need {name}", hint="pip install 'penstock[control,judge,log]'"
            )
