"""A request's coroutine, run for whoever waits with futures of asyncio: docs/decisions/coroutines-without-tasks.md."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from penstock.serving.http.message import Reply


def drive(coroutine: Coroutine[Any, None, Reply]) -> Reply | asyncio.Future[Reply]:
    """The reply if it is there at once, else a future of it.

    Whoever cancels the future waits no more, and nothing else is changed: others wait for the same batch or answer.
    """
    try:
        waits = coroutine.send(None)
    except StopIteration as end:
        reply: Reply = end.value
        return reply
    driven = _Driven(coroutine)
    waits.add_done_callback(driven.step)
    return driven.reply


class _Driven:
    """One coroutine that has begun to wait."""

    __slots__ = ("_coroutine", "reply")

    def __init__(self, coroutine: Coroutine[Any, None, Reply]) -> None:
        self._coroutine = coroutine
        self.reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def step(self, waited: object) -> None:
        """Go on after what was waited for."""
        try:
            waits = self._coroutine.send(None)
        except StopIteration as end:
            if not self.reply.done():
                self.reply.set_result(end.value)
        except Exception as error:  # our own defect: whoever waits must hear of it, not wait for ever
            if not self.reply.done():
                self.reply.set_exception(error)
        else:
            waits.add_done_callback(self.step)
