"""One request that is being answered: a reply that is owed.

A request is a coroutine that this file drives by itself: an asyncio task for each would cost more than the model.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from penstock.serving.http.message import Reply


class Answers(Protocol):
    """Who sends the reply when it is there: a connection."""

    def reply(self, exchange: Exchange, reply: Reply) -> None:
        """Take the reply of one request."""


class Exchange(msgspec.Struct, gc=False, eq=False):
    """`data` is what will be sent, once it is known; with `close` it is the last."""

    connection: Answers
    close: bool
    data: bytes | None = None
    coroutine: Coroutine[Any, None, Reply] | None = None

    def step(self, waited: object = None) -> None:
        """Run the request's coroutine until it waits for a batch; the batch calls this again.

        Whatever it awaits needs only `add_done_callback` and an `__await__` that yields itself, as `Pending` has.
        """
        try:
            waits = self.coroutine.send(None)  # type: ignore[union-attr]
        except StopIteration as end:
            self.coroutine = None
            self.connection.reply(self, end.value)
        else:
            waits.add_done_callback(self.step)
