"""Going on with operations: what was begun here, what a dead control process left, what an approval set free.

An operation is a row that says how far it is; `Control.continue_operation` may be repeated at any point. So nothing
has to be remembered here. What has to be known is who is at it, or gates would run twice: that is the lease
(`leases.py`), which a living process renews and a dead one cannot.
"""

from __future__ import annotations

import asyncio

from penstock.api.doors import Event
from penstock.api.leases import Leases
from penstock.control.control import Control
from penstock.core.errors import PenstockError

LOOK_S = 1.0
RENEW_S = 2.0


class Executor:
    """Continues unfinished operations, each on a thread, while this process holds its lease."""

    def __init__(self, control: Control, leases: Leases, event: Event) -> None:
        self._control = control
        self._leases = leases
        self._event = event
        self._soon = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._working: dict[int, asyncio.Task[None]] = {}

    def soon(self) -> None:
        """Look at once; from any thread."""
        self._loop.call_soon_threadsafe(self._soon.set)

    async def run(self) -> None:
        """Look for operations until cancelled; what is being worked on is given back to whoever comes next."""
        renewing = asyncio.ensure_future(self._renew())
        try:
            while True:
                await self._look()
                self._soon.clear()
                try:
                    await asyncio.wait_for(self._soon.wait(), LOOK_S)
                except TimeoutError:
                    continue
        finally:
            renewing.cancel()

    async def _look(self) -> None:
        try:
            for operation in await asyncio.to_thread(self._control.unfinished):
                if operation.id in self._working:
                    continue
                if await asyncio.to_thread(self._leases.take, _lease(operation.id)):
                    self._working[operation.id] = asyncio.ensure_future(self._work(operation.id))
        except PenstockError as error:
            # The database is away: it will be asked again.
            self._event("operations-not-read", code=error.code, reason=str(error))

    async def _work(self, number: int) -> None:
        try:
            ended = await asyncio.to_thread(self._control.continue_operation, number)
            self._event("operation", id=number, state=ended.state)
            await asyncio.to_thread(self._leases.give_back, _lease(number))
        except PenstockError as error:
            self._event("operation-interrupted", id=number, code=error.code, reason=str(error))
        except Exception as error:  # a defect of ours in one operation must not stop the others
            self._event("internal-error", operation=number, error=repr(error)[:300])
        finally:
            self._working.pop(number, None)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                await asyncio.to_thread(self._leases.renew, [_lease(number) for number in self._working])
            except PenstockError as error:
                self._event("leases-not-renewed", code=error.code, reason=str(error))


def _lease(number: int) -> str:
    return f"operation:{number}"
