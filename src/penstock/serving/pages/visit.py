"""What a page is, and what it is told about the request for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from penstock.core.errors import WrongMethod
from penstock.protocols.address import ModelAddress
from penstock.serving.access import Caller
from penstock.serving.arms import ServedEndpoint
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
        return self.node.addresses.name(self.address, self.caller)

    @property
    def endpoint(self) -> ServedEndpoint:
        """That endpoint as it is served; raises as `NodeState.endpoint`."""
        return self.node.endpoint(self.name, self.caller)


class Page(msgspec.Struct, frozen=True, gc=False):
    """One address's answer, and the methods it takes.

    With `keyed` only who has a key may look, as for a model's page; an `open` one of a model's address is about none.
    """

    answer: Callable[[Visit], PageReply]
    methods: tuple[bytes, ...] = READING
    keyed: bool = False
    open: bool = False


def check_method(method: bytes, methods: tuple[bytes, ...]) -> None:
    """Raise WrongMethod for one that is not among the `methods` of an address."""
    if method not in methods:
        allowed = b", ".join(methods).decode()
        raise WrongMethod("wrong-method", f"this address takes {allowed} only", allowed=allowed)
