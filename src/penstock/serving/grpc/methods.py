"""What the gRPC door answers: by the full name of a method, how.

A new contract's methods are a line in each table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from penstock.protocols.address import ModelAddress
from penstock.protocols.form import Form
from penstock.serving.pages.visit import Visit


class CallMethod(msgspec.Struct, frozen=True, gc=False):
    """A method that calls a model: its form, and which model a message is for."""

    form: Form
    address: Callable[[bytes], ModelAddress]


class PageMethod(msgspec.Struct, frozen=True, gc=False):
    """A method that tells something. Without an `address` it is of no model.

    Only who has a key may call it, unless it is `open`: then its message is not even read.
    """

    answer: Callable[[Visit], bytes | Awaitable[bytes]]
    address: Callable[[bytes], ModelAddress] | None = None
    open: bool = False


def call_methods() -> Mapping[str, CallMethod]:
    """The methods that call models."""
    from penstock.serving.grpc import oip, tfserving

    return {**oip.CALLS, **tfserving.CALLS}


def page_methods() -> Mapping[str, PageMethod]:
    """All other methods of one message and one answer."""
    from penstock.serving.grpc import health, oip, tfserving

    return {**oip.PAGES, **tfserving.PAGES, **health.PAGES}
