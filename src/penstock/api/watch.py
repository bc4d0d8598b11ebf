"""The current route document, watched for all long polls at once: one small query, however many nodes wait."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from penstock.api.doors import Event
from penstock.control.control import Control
from penstock.core.digest import canonical_json
from penstock.core.errors import PenstockError

POLL_S = 0.1
Mark = tuple[int, str]


class RoutesWatch:
    """Knows the newest document. While the database is away it goes on with the one it has."""

    def __init__(self, control: Control, event: Event) -> None:
        self._control = control
        self._event = event
        self._mark: Mark | None = None
        self._data = b""
        self._changed = asyncio.Event()
        self._said = ""

    async def run(self) -> NoReturn:
        """Look for changes until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look once."""
        try:
            found = await asyncio.to_thread(self._read)
        except PenstockError as error:
            if str(error) != self._said:
                self._said = str(error)
                self._event("routes-not-read", reason=self._said)
            return
        self._said = ""
        if found is not None:
            self._mark, self._data = found
            self._changed.set()
            self._changed = asyncio.Event()

    async def after(self, mark: Mark, wait_s: float, stopping: asyncio.Event) -> bytes | None:
        """The document, as soon as it is another one than `mark` says; None when there was none in time."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        if self._mark is None:
            await self.look()
        while self._mark is None or self._mark == mark:
            left = end - loop.time()
            if left <= 0 or stopping.is_set():
                return None
            waiting = [asyncio.ensure_future(event.wait()) for event in (self._changed, stopping)]
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
        return self._data

    def _read(self) -> tuple[Mark, bytes] | None:
        current = self._control.generation()
        if self._mark is not None and self._mark[0] == (current.generation if current is not None else 0):
            return None
        document = self._control.routes()
        return (document.generation, document.digest()), canonical_json(document)
