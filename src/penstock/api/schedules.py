"""What the spec asks for again and again, at the minutes its cron fields name (UTC)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from penstock.api.actions import OF_EACH_HOME
from penstock.api.doors import Event
from penstock.control.control import Control
from penstock.control.cron import is_due
from penstock.control.spec import Schedule, Spec
from penstock.core.clock import Clock
from penstock.core.errors import PenstockError

LOOK_S = 5.0
_MOST_MINUTES = 5
_HOURLY = Schedule(cron="7 * * * *", what="compact-log")


class Schedules:
    """Runs the actions of this control process. After a pause it makes up for the last 5 minutes and no more.

    Of several processes the one that `claim`s a schedule's minute runs it, but for what each home does for itself.
    """

    def __init__(
        self,
        control: Control,
        actions: Mapping[str, Callable[[], object]],
        claim: Callable[[str], bool],
        event: Event,
        clock: Clock,
    ) -> None:
        self._control = control
        self._actions = actions
        self._claim = claim
        self._event = event
        self._clock = clock
        self._done = self._minute()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Do what has become due since the last look."""
        now = self._minute()
        first = max(self._done + timedelta(minutes=1), now - timedelta(minutes=_MOST_MINUTES))
        # A clock that was set back does not do the same minutes again.
        self._done = max(self._done, now)
        minutes = [first + timedelta(minutes=passed) for passed in range(int((now - first).total_seconds() // 60) + 1)]
        if not minutes:
            return
        try:
            spec = await asyncio.to_thread(self._control.spec)
        except PenstockError as error:
            self._event("schedules-not-read", code=error.code, reason=str(error))
            return
        for name, schedule in self._wanted(spec).items():
            # The last minute stands for those before it that were missed.
            due = [minute for minute in minutes if is_due(schedule.cron, minute)]
            if due:
                await self._do(name, schedule.what, due[-1])

    async def _is_ours(self, name: str, what: str, minute: datetime) -> bool:
        if what in OF_EACH_HOME:
            return True
        try:
            return await asyncio.to_thread(self._claim, f"schedule:{name}:{minute:%Y%m%dT%H%M}")
        except PenstockError as error:
            self._event("schedules-not-read", code=error.code, reason=str(error))
            return False

    def _wanted(self, spec: Spec | None) -> dict[str, Schedule]:
        """What the spec asks for. A log that nobody turns into the table would grow until the node gives it up."""
        asked = spec.schedules if spec is not None else {}
        if "compact-log" not in self._actions or any(one.what == "compact-log" for one in asked.values()):
            return asked
        return {**asked, "compact-log (default)": _HOURLY}

    async def _do(self, name: str, what: str, minute: datetime) -> None:
        action = self._actions.get(what)
        if action is None:
            self._event("schedule-not-run", schedule=name, what=what, reason="this control cannot do it")
            return
        if not await self._is_ours(name, what, minute):
            return
        try:
            await asyncio.to_thread(action)
            self._event("schedule-run", schedule=name, what=what)
        except PenstockError as error:
            self._event("schedule-failed", schedule=name, what=what, code=error.code, reason=str(error))

    def _minute(self) -> datetime:
        return datetime.fromtimestamp(self._clock() // 60 * 60, UTC)
