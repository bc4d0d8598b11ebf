"""Rollouts, moved on while control runs: the one with a lease asks for the facts, decides and writes, again and again.

All there is to know is in the database, so a control that dies is followed by any other one, and nothing is lost but a
few seconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from penstock.api.doors import Event
from penstock.api.leases import Leases
from penstock.control.control import Control
from penstock.control.records import RolloutRecord
from penstock.core.errors import Conflict, PenstockError

LOOK_S = 0.5
# Judging may cost this part of the time at the most: a rollout of weeks has a log of weeks.
_PART = 0.2


class Rolling:
    """Ticks every rollout that goes on, each on a thread of its own."""

    def __init__(self, control: Control, leases: Leases, event: Event) -> None:
        self._control = control
        self._leases = leases
        self._event = event
        self._due: dict[int, float] = {}
        self._working: dict[int, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Begin a tick of every rollout that is due."""
        try:
            going = await asyncio.to_thread(self._control.rollouts.going)
            for record in going:
                free = record.id not in self._working and self._due.get(record.id, 0.0) <= monotonic()
                if free and await asyncio.to_thread(self._leases.take, f"rollout:{record.id}"):
                    self._working[record.id] = asyncio.ensure_future(self._tick(record))
        except PenstockError as error:
            # The database is away: it will be asked again.
            self._event("rollouts-not-read", code=error.code, reason=str(error))
            return
        except Exception as error:  # a defect of ours must not end all rollouts
            self._event("internal-error", rollouts=True, error=repr(error)[:300])
            return
        for number in self._due.keys() - {record.id for record in going}:
            del self._due[number]

    async def _tick(self, record: RolloutRecord) -> None:
        began = monotonic()
        try:
            after = await asyncio.to_thread(self._control.rollouts.tick, record.id)
            if after.revision != record.revision:
                state = after.rollout.state
                self._event(
                    "rollout", id=record.id, endpoint=record.rollout.endpoint, phase=state.phase, hold=state.hold,
                    end=state.end, weight=state.weight, reason=state.reason,
                )  # fmt: skip
            self._due[record.id] = began + _pause_s(after, monotonic() - began)
        except Conflict:
            # Another process, or somebody, changed it just now.
            self._due.pop(record.id, None)
        except PenstockError as error:
            self._event("rollout-interrupted", id=record.id, code=error.code, reason=str(error))
            self._due[record.id] = began + record.rollout.plan.every_s
        except Exception as error:  # a defect of ours in one rollout must not stop the others
            self._event("internal-error", rollout=record.id, error=repr(error)[:300])
            self._due[record.id] = began + record.rollout.plan.every_s
        finally:
            self._working.pop(record.id, None)


def _pause_s(record: RolloutRecord, took_s: float) -> float:
    """How long until the next look: what waits for nodes is looked at soon, the log as often as the plan says."""
    if record.rollout.state.counted is None:
        return 0.0
    return max(record.rollout.plan.every_s, took_s / _PART)
