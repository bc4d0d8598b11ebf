"""What a page is, and what it is told about the request for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from penstock.core.errors import PenstockError
from penstock.protocols.address import ModelAddress
from penstock.protocols.problems import JSON, reply_of
from penstock.serving.access import Caller
from penstock.serving.http.message import Reply, Request
from penstock.serving.state import NodeState

READING = (b"GET", b"HEAD")
PageReply = Reply | Coroutine[Any, None, Reply]
"""A reply, or a coroutine that awaits nothing but futures and tasks of asyncio, each by itself."""


class Visit(msgspec.Struct, frozen=True, gc=False):
    """A request for a page. `address` is that of a model's page; `caller` is known where keys are asked for."""

    request: Request
    node: NodeState
    address: ModelAddress
    caller: Caller | None = None

    @property
    def name(self) -> str:
        """The endpoint that a model's page is about; raises InvalidInput where nothing says which."""
        return self.node.addresses.name(self.address)


class Page(msgspec.Struct, frozen=True, gc=False):
    """One address's answer, and the methods it takes.

    With `keyed` only who has a key may look, as for a model's page; an `open` one of a model's address is about none.
    """

    answer: Callable[[Visit], PageReply]
    methods: tuple[bytes, ...] = READING
    keyed: bool = False
    open: bool = False


def wrong_method(methods: tuple[bytes, ...]) -> Reply:
    """The reply to a method that an address does not take."""
    allowed = b", ".join(methods).decode()
    body = msgspec.json.encode({"error": f"this address takes {allowed} only", "code": "wrong-method"})
    return Reply(405, JSON + f"allow: {allowed}\r\n".encode(), body)


def failure(error: PenstockError) -> Reply:
    """The reply for a failure that is no call's."""
    return Reply(*reply_of(error))
