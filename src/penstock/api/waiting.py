"""Answering late: a client that waits is answered as soon as there is news, and not asked to come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from penstock.api.doors import Doors

Value = TypeVar("Value")
_LOOK_S = 0.1


async def waited(doors: Doors, ask: Callable[[], Value], is_news: Callable[[Value], bool], wait_s: float) -> Value:
    """What `ask` gives once it is news, else after `wait_s` seconds, or when control stops; `ask` runs on a thread."""
    loop = asyncio.get_running_loop()
    end = loop.time() + wait_s
    while True:
        found = await asyncio.to_thread(ask)
        if is_news(found) or loop.time() >= end or doors.stopping.is_set():
            return found
        await asyncio.sleep(_LOOK_S)
